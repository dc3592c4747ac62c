// The network with frugally-deep, as DiVertAnalysis runs it.
#include "network.h"

#include <fdeep/fdeep.hpp>

#include <stdexcept>

namespace {

class FdeepNetwork : public Network {
public:
    // Loading also tests the network on the jets in the file, and throws if a score differs by more than 1e-4.
    explicit FdeepNetwork(const std::string& file) : model_(fdeep::load_model(file, true, fdeep::dev_null_logger)) {}

    std::vector<InputShape> inputs() const override {
        std::vector<InputShape> shapes;
        for (const fdeep::tensor_shape& shape : model_.get_dummy_input_shapes()) {
            shapes.push_back(shape.rank() == 1 ? InputShape{shape.depth_} : InputShape{shape.width_, shape.depth_});
        }
        return shapes;
    }

    std::vector<Scores> score(const std::vector<Jet>& jets) override {
        const std::vector<fdeep::tensor_shape> shapes = model_.get_dummy_input_shapes();
        std::vector<Scores> result;
        for (const Jet& jet : jets) {
            fdeep::tensors tensors;
            for (std::size_t i = 0; i < shapes.size(); ++i) {
                tensors.emplace_back(shapes[i], jet[i]);
            }
            const std::vector<float> scores = model_.predict(tensors).front().to_vector();
            if (scores.size() != Scores{}.size()) {
                throw std::runtime_error("the network does not give three scores");
            }
            result.push_back({scores[0], scores[1], scores[2]});
        }
        return result;
    }

private:
    fdeep::model model_;
};

}  // namespace

std::unique_ptr<Network> open_network(const std::string& file) {
    return std::make_unique<FdeepNetwork>(file);
}
