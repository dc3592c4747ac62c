// A trained network behind one interface, so that the rest of the program does not know which library runs it.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

// Inputs of one jet, one array per input of the network, in its order: clusters, tracks, muon segments, jet.
// Constituents are [slot][feature], with zeros in empty slots. All values are scaled as the network's card says.
using Jet = std::vector<std::vector<float>>;

// QCD, signal, BIB; they sum to 1.
using Scores = std::array<double, 3>;

// {slots, features} of constituents, {features} of the jet itself.
using InputShape = std::vector<std::size_t>;

inline std::size_t size_of(const InputShape& shape) {
    std::size_t size = 1;
    for (const std::size_t length : shape) {
        size *= length;
    }
    return size;
}

class Network {
public:
    virtual ~Network() = default;
    virtual std::vector<InputShape> inputs() const = 0;
    virtual std::vector<Scores> score(const std::vector<Jet>& jets) = 0;
};

// Throws std::exception if the file is not a network or its own check fails.
std::unique_ptr<Network> open_network(const std::string& file);
