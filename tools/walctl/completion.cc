#include "tools/walctl/completion.h"

#include <vector>

namespace walraft::walctl {
namespace {

// Where a command line can be ("", "append", "log create", …), and what can follow.
struct Place {
  std::string at;
  std::vector<std::string> commands;
  std::vector<std::string> options;
};

std::string below(const std::string& at, const std::string& command) {
  return at.empty() ? command : at + " " + command;
}

void collect(const CLI::App& app, const std::string& at, std::vector<Place>& places) {
  Place place{.at = at, .commands = {}, .options = {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) place.options.push_back("--" + name);
  }
  if (!places.empty()) {  // those of walctl itself are taken anywhere
    const auto& global = places.front().options;
    place.options.insert(place.options.end(), global.begin(), global.end());
  }
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) place.commands.push_back(command->get_name());
  places.push_back(std::move(place));
  for (const CLI::App* command : commands) collect(*command, below(at, command->get_name()), places);
}

std::string words(const Place& place) {
  std::string all;
  for (const std::string& word : place.commands) all += (all.empty() ? "" : " ") + word;
  for (const std::string& word : place.options) all += (all.empty() ? "" : " ") + word;
  return all;
}

// What bash and zsh write alike: follows the `line`, the words before the cursor, to a place, and sets what can be there,
// `set` and `end` around it.
std::string steps(const std::vector<Place>& places, const std::string& line, const std::string& set,
                  const std::string& end) {
  std::string script = "  for word in \"" + line + "\"; do\n    case \"$at $word\" in\n";
  for (const Place& place : places) {
    for (const std::string& command : place.commands) {
      script += "      '" + place.at + " " + command + "') at='" + below(place.at, command) + "' ;;\n";
    }
  }
  script += "    esac\n  done\n  case \"$at\" in\n";
  for (const Place& place : places) script += "    '" + place.at + "') " + set + words(place) + end + " ;;\n";
  return script + "  esac\n";
}

std::string bash_script(const std::vector<Place>& places) {
  return "# bash completion of walctl: source <(walctl completion bash)\n"
         "_walctl() {\n"
         "  local at='' word words=''\n" +
         steps(places, "${COMP_WORDS[@]:1:COMP_CWORD-1}", "words='", "'") +
         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "}\n"
         "complete -o default -F _walctl walctl\n";
}

std::string zsh_script(const std::vector<Place>& places) {
  return "#compdef walctl\n"
         "# zsh completion of walctl: source <(walctl completion zsh)\n"
         "_walctl() {\n"
         "  local at='' word\n"
         "  local -a choices\n" +
         steps(places, "${words[@]:1:$((CURRENT - 2))}", "choices=(", ")") +
         "  compadd -- $choices\n"
         "  _files\n"
         "}\n"
         "compdef _walctl walctl\n";
}

std::string fish_script(const std::vector<Place>& places) {
  std::string script =
      "# fish completion of walctl: walctl completion fish | source\n"
      "function __walctl_at\n"
      "  set -l at ''\n"
      "  set -l tokens (commandline -opc)\n"
      "  for word in $tokens[2..]\n"
      "    switch \"$at $word\"\n";
  for (const Place& place : places) {
    for (const std::string& command : place.commands) {
      script += "      case '" + place.at + " " + command + "'\n        set at '" + below(place.at, command) + "'\n";
    }
  }
  script +=
      "    end\n"
      "  end\n"
      "  test \"$at\" = \"$argv[1]\"\n"
      "end\n";
  for (const Place& place : places) {
    const std::string begin = "complete -c walctl -n \"__walctl_at '" + place.at + "'\" ";
    if (!place.commands.empty()) script += begin + "-f\n";
    for (const std::string& command : place.commands) script += begin + "-a " + command + "\n";
    for (const std::string& option : place.options) script += begin + "-l " + option.substr(2) + "\n";
  }
  return script;
}

}  // namespace

Result<std::string> completion_script(const CLI::App& app, const std::string& shell) {
  std::vector<Place> places;
  collect(app, "", places);
  if (shell == "bash") return bash_script(places);
  if (shell == "zsh") return zsh_script(places);
  if (shell == "fish") return fish_script(places);
  return error(Code::usage, "completion: \"" + shell + "\" is none of bash, zsh, fish");
}

}  // namespace walraft::walctl
