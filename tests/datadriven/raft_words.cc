#include "tests/datadriven/raft_words.h"

#include <sstream>
#include <stdexcept>

namespace walraft {
namespace {

bool is_number(const std::string& word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

NodeId node_of(const std::string& word) { return NodeId{static_cast<std::uint16_t>(std::stoul(word))}; }

std::uint64_t time_of(const std::string& word) {
  std::size_t unit = 0;
  const std::uint64_t number = std::stoull(word, &unit);
  if (word.substr(unit) == "ms") return number * 1'000;
  if (word.substr(unit) == "s") return number * 1'000'000;
  throw std::runtime_error("a time is 300ms or 2s, not " + word);
}

std::vector<Term> terms_of(const std::vector<std::string>& words) {
  std::vector<Term> terms;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t dots = words[i].find("..");
    const std::uint64_t last = std::stoull(dots == std::string::npos ? words[i] : words[i].substr(dots + 2));
    for (std::uint64_t term = std::stoull(words[i]); term <= last; ++term) terms.emplace_back(term);
  }
  return terms;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

Link link_of(const std::string& word) {
  const std::size_t arrow = word.find('>');
  if (arrow == std::string::npos || word.find('-') == std::string::npos) {
    throw std::runtime_error("a link is 1->2 or 1<->2, not " + word);
  }
  return {node_of(word), node_of(word.substr(arrow + 1)), word.find('<') != std::string::npos};
}

Pick pick_of(const Command& command, std::size_t from) {
  Pick pick;
  pick.link = link_of(command.words.at(from));
  for (std::size_t i = from + 1; i < command.all.size(); ++i) {
    const std::string& word = command.all[i];
    if (word == "keep") {
      pick.keep = true;
    } else if (is_number(word)) {
      pick.count = std::stoull(word);
    } else {
      pick.what += (pick.what.empty() ? "" : " ") + word;
    }
  }
  return pick;
}

bool Pick::fits(const model::Letter& letter) const {
  return letter.from == link.from && letter.to == link.to && what != "stream" &&
         (what == "control" || replication::describe(letter.message).starts_with(what));
}

bool Pick::fits(const model::Frame& frame) const {
  return what != "control" && (what == "stream" || model::describe(frame).starts_with(what));
}

}  // namespace walraft
