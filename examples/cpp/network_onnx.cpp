// The network with onnxruntime.
#include "network.h"

#include <onnxruntime_cxx_api.h>

#include <stdexcept>

namespace {

class OnnxNetwork : public Network {
public:
    explicit OnnxNetwork(const std::string& file) : session_(environment_, file.c_str(), Ort::SessionOptions{}) {
        Ort::AllocatorWithDefaultOptions allocator;
        for (std::size_t i = 0; i < session_.GetInputCount(); ++i) {
            names_.emplace_back(session_.GetInputNameAllocated(i, allocator).get());
            const std::vector<std::int64_t> shape =
                session_.GetInputTypeInfo(i).GetTensorTypeAndShapeInfo().GetShape();
            shapes_.emplace_back(shape.begin() + 1, shape.end());  // the first axis counts the jets
        }
        output_ = session_.GetOutputNameAllocated(0, allocator).get();
    }

    std::vector<InputShape> inputs() const override { return shapes_; }

    // All jets in one batch.
    std::vector<Scores> score(const std::vector<Jet>& jets) override {
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        std::vector<std::vector<float>> values(shapes_.size());
        std::vector<Ort::Value> tensors;
        std::vector<const char*> names;
        for (std::size_t i = 0; i < shapes_.size(); ++i) {
            for (const Jet& jet : jets) {
                values[i].insert(values[i].end(), jet[i].begin(), jet[i].end());
            }
            std::vector<std::int64_t> shape{static_cast<std::int64_t>(jets.size())};
            shape.insert(shape.end(), shapes_[i].begin(), shapes_[i].end());
            tensors.push_back(Ort::Value::CreateTensor<float>(memory, values[i].data(), values[i].size(),
                                                              shape.data(), shape.size()));
            names.push_back(names_[i].c_str());
        }
        const char* output = output_.c_str();
        const std::vector<Ort::Value> results =
            session_.Run(Ort::RunOptions{}, names.data(), tensors.data(), tensors.size(), &output, 1);
        if (results.front().GetTensorTypeAndShapeInfo().GetElementCount() != jets.size() * Scores{}.size()) {
            throw std::runtime_error("the network does not give three scores a jet");
        }
        const float* scores = results.front().GetTensorData<float>();
        std::vector<Scores> rows;
        for (std::size_t jet = 0; jet < jets.size(); ++jet) {
            rows.push_back({scores[3 * jet], scores[3 * jet + 1], scores[3 * jet + 2]});
        }
        return rows;
    }

private:
    Ort::Env environment_{ORT_LOGGING_LEVEL_WARNING, "score_jets"};
    Ort::Session session_;
    std::vector<std::string> names_;
    std::vector<InputShape> shapes_;
    std::string output_;
};

}  // namespace

std::unique_ptr<Network> open_network(const std::string& file) {
    return std::make_unique<OnnxNetwork>(file);
}
