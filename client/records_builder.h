#pragma once

// Inside the client: turns RECORDS frames into Records. Every batch is verified: header, CRC of the body, that it
// continues what came before. Thread: one at a time.

#include "client/client.h"
#include "rpc/wire/messages.h"

namespace walraft {

class RecordsBuilder {
 public:
  // `expected` is the offset that must come next.
  explicit RecordsBuilder(Offset expected) { records_.next_ = records_.committed_ = expected; }

  // `batches` is what follows `message` in its frame. `corrupt` if a batch is damaged, `failed` if the server sent
  // other records than it said: nothing of the frame was taken then.
  Result<void> add(const rpc::Records& message, ByteView batches);

  const Records& records() const { return records_; }
  Records take() { return std::move(records_); }

 private:
  Records records_;
};

}  // namespace walraft
