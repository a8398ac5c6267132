// The sparse contents under everything: against a plain string, at random; and the random numbers.

#include "tests/sim/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/sim/sim_rng.h"

namespace walraft::sim {
namespace {

std::string text_of_image(const Image& image) {
  std::string text(image.size(), '?');
  EXPECT_EQ(image.read(0, std::as_writable_bytes(std::span(text))), text.size());
  return text;
}

TEST(Image, BehavesAsAStringDoesWhateverIsDoneToItAndItsCopies) {
  constexpr std::uint64_t kMax = 200 * kPageBytes;  // several chunks
  SimRng rng(7);
  for (int round = 0; round < 20; ++round) {
    Image image;
    std::string model;
    std::vector<std::pair<Image, std::string>> copies;
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t position = rng.below(kMax);
      switch (rng.below(5)) {
        case 0: {
          image.resize(position);
          model.resize(position, '\0');
          break;
        }
        case 1: {
          image.allocate(position);
          if (model.size() < position) model.resize(position, '\0');
          EXPECT_EQ(image.holes_before(position), 0u);
          break;
        }
        case 2: copies.emplace_back(image, model); break;
        default: {
          const std::string bytes(rng.below(3 * kPageBytes) + 1, static_cast<char>('a' + rng.below(26)));
          image.write(position, bytes_of(bytes));
          if (model.size() < position + bytes.size()) model.resize(position + bytes.size(), '\0');
          model.replace(position, bytes.size(), bytes);
        }
      }
      std::uint64_t allocated = 0;
      for (std::uint64_t page = 0; page * kPageBytes < image.size(); ++page) allocated += image.page(page) != nullptr;
      ASSERT_EQ(image.allocated_pages(), allocated);
    }
    ASSERT_TRUE(text_of_image(image) == model);
    for (const auto& [copy, text] : copies) ASSERT_TRUE(text_of_image(copy) == text);
  }
}

TEST(SimRng, RepeatsItselfBySeedAndIsUniformEnough) {
  SimRng one(5), same(5), other(6);
  std::array<int, 10> counts{};
  bool differs = false;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t value = one.next();
    EXPECT_EQ(value, same.next());
    differs |= value != other.next();
    ++counts[SimRng(value).below(10)];
  }
  EXPECT_TRUE(differs);
  EXPECT_GT(*std::ranges::min_element(counts), 800);
  EXPECT_LT(*std::ranges::max_element(counts), 1200);
  EXPECT_EQ(SimRng(1).next(), 12966619160104079557u);  // seeds in bug reports keep their meaning
}

}  // namespace
}  // namespace walraft::sim
