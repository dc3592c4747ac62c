// score_jets MODEL JETS [EXPECTED]: scores the jets of a text file, and compares the scores with expected ones.
//
// JETS has one line per jet: the numbers of all inputs, separated by spaces. EXPECTED has three scores per line.
// Scores go to standard output, everything else to standard error. The exit status is 1 if scores differ.
#include "network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>

namespace {

constexpr double tolerance = 1e-5;

std::vector<std::vector<double>> read_rows(const std::string& file, const std::size_t numbers) {
    std::ifstream stream(file);
    if (!stream) {
        throw std::runtime_error(file + " cannot be read");
    }
    std::vector<std::vector<double>> rows;
    for (std::string line; std::getline(stream, line);) {
        std::istringstream words(line);
        std::vector<double> row;
        for (double number; words >> number;) {
            row.push_back(number);
        }
        if (row.size() != numbers || !words.eof()) {
            throw std::runtime_error(file + ", line " + std::to_string(rows.size() + 1) + ": " +
                                     std::to_string(row.size()) + " numbers, expected " + std::to_string(numbers));
        }
        rows.push_back(row);
    }
    if (rows.empty()) {
        throw std::runtime_error(file + " is empty");
    }
    return rows;
}

std::vector<Jet> read_jets(const std::string& file, const std::vector<InputShape>& inputs) {
    std::size_t numbers = 0;
    for (const InputShape& shape : inputs) {
        numbers += size_of(shape);
    }
    std::vector<Jet> jets;
    for (const std::vector<double>& row : read_rows(file, numbers)) {
        Jet jet;
        auto next = row.begin();
        for (const InputShape& shape : inputs) {
            const auto end = next + static_cast<std::ptrdiff_t>(size_of(shape));
            jet.emplace_back(next, end);
            next = end;
        }
        jets.push_back(jet);
    }
    return jets;
}

double largest_difference(const std::vector<Scores>& scores, const std::vector<std::vector<double>>& expected) {
    if (scores.size() != expected.size()) {
        throw std::runtime_error(std::to_string(expected.size()) + " expected scores for " +
                                 std::to_string(scores.size()) + " jets");
    }
    double largest = 0;
    for (std::size_t jet = 0; jet < scores.size(); ++jet) {
        for (std::size_t output = 0; output < scores[jet].size(); ++output) {
            const double difference = std::abs(scores[jet][output] - expected[jet][output]);
            largest = std::isnan(difference) ? difference : std::max(largest, difference);
            if (std::isnan(largest)) {
                return largest;
            }
        }
    }
    return largest;
}

int run(const std::vector<std::string>& words) {
    const std::unique_ptr<Network> network = open_network(words[0]);
    const std::vector<Jet> jets = read_jets(words[1], network->inputs());
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<Scores> scores = network->score(jets);
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - begin;
    std::cout << std::setprecision(9);
    for (const Scores& jet : scores) {
        std::cout << jet[0] << ' ' << jet[1] << ' ' << jet[2] << '\n';
    }
    std::cerr << jets.size() << " jets, " << std::lround(time.count() / static_cast<double>(jets.size()))
              << " us each\n";
    if (words.size() < 3) {
        return 0;
    }
    const double difference = largest_difference(scores, read_rows(words[2], Scores{}.size()));
    std::cerr << "largest difference from the expected scores: " << difference << '\n';
    return difference <= tolerance ? 0 : 1;
}

}  // namespace

int main(const int count, const char* const* const words) {
    if (count < 3 || count > 4) {
        std::cerr << "usage: " << words[0] << " MODEL JETS [EXPECTED]\n";
        return 2;
    }
    try {
        return run({words + 1, words + count});
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 2;
    }
}
