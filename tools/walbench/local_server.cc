#include "tools/walbench/local_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

namespace walraft::walbench {
namespace {

using namespace std::chrono_literals;

constexpr auto kStartDeadline = 30s;
constexpr auto kEndDeadline = 10s;
constexpr int kTries = 5;  // somebody may take the port between our look and its bind
constexpr int kExitAddressInUse = 4;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

// A port that nobody has now; 0 if there is none.
int free_port() {
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  const bool bound = ::bind(probe, reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
                     ::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  ::close(probe);
  return bound ? ntohs(address.sin_port) : 0;
}

std::mutex destroying;

}  // namespace

Result<std::unique_ptr<LocalServer>> LocalServer::start(const std::string& wald, const std::string& directory) {
  if (::access(wald.c_str(), X_OK) != 0) {
    return error(Code::failed,
                 wald + ": cannot be run: " + std::strerror(errno) +
                     ". --local starts the wald that lies beside walbench; build it, or use --endpoints.");
  }
  std::unique_ptr<LocalServer> server(new LocalServer);
  std::string path = directory + "/walbench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return error(errno == ENOSPC ? Code::no_space : Code::failed,
                 directory + ": cannot make a directory for the server's data: " + std::strerror(errno));
  }
  server->directory_ = path;
  for (int i = 0; i < kTries; ++i) {
    const int port = free_port();
    auto launched = server->launch(wald, port);
    if (!launched) return std::unexpected(launched.error());
    const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
    int status = 0;
    while (::waitpid(server->pid_, &status, WNOHANG) == 0) {
      if (server->listens(port)) return server;
      if (std::chrono::steady_clock::now() > deadline) {
        return error(Code::failed, wald + " does not listen after 30 s: " + server->log_text());
      }
      std::this_thread::sleep_for(20ms);
    }
    server->pid_ = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != kExitAddressInUse) break;
  }
  return error(Code::failed, wald + " ended at its start: " + server->last_words());
}

Result<void> LocalServer::launch(const std::string& wald, int port) {
  endpoint_ = "127.0.0.1:" + std::to_string(port);
  const std::string config = directory_ + "/wald.toml";
  const auto at = [](int number) { return "\"127.0.0.1:" + std::to_string(number) + "\""; };
  // control and http are not served by this release: their ports are names only.
  std::ofstream(config) << "[node]\nid = 1\ndata_dir = \"" << directory_ << "/data\"\n[cluster]\nname = \"walbench\"\n"
                        << "members = [{ id = 1, stream = " << at(port) << ", control = " << at(port + 1)
                        << ", http = " << at(port + 2) << " }]\n[listen]\nstream = " << at(port)
                        << "\ncontrol = " << at(port + 1) << "\nhttp = " << at(port + 2)
                        << "\n[storage]\nreserve_bytes = \"1MiB\"\n";
  const std::string log = directory_ + "/wald.log";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) {
    pid_ = 0;
    return error(Code::failed, std::string("cannot start a process: ") + std::strerror(errno));
  }
  if (pid_ == 0) {  // only what may be called between fork and exec
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (out < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(1);
    ::execl(wald.c_str(), wald.c_str(), "--config", config.c_str(), static_cast<char*>(nullptr));
    ::_exit(1);
  }
  return {};
}

bool LocalServer::listens(int port) const {
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const bool connected = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(probe);
  return connected;
}

std::string LocalServer::log_text() const {
  std::ostringstream text;
  text << std::ifstream(directory_ + "/wald.log").rdbuf();
  return text.str();
}

std::string LocalServer::last_words() const {
  const std::string text = log_text();
  return text.size() > 800 ? text.substr(text.size() - 800) : text;
}

std::string LocalServer::method() const {
  const std::string text = log_text();
  const std::string before = "writes by ";
  const auto at = text.find(before);
  if (at == std::string::npos) return "";
  return text.substr(at + before.size(), text.find_first_of("\"\n", at) - at - before.size());
}

void LocalServer::destroy() {
  const std::lock_guard lock(destroying);
  if (pid_ != 0) {
    ::kill(pid_, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + kEndDeadline;
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) ::kill(pid_, SIGKILL);
      std::this_thread::sleep_for(10ms);
    }
    pid_ = 0;
  }
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  directory_.clear();
}

}  // namespace walraft::walbench
