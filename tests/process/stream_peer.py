"""The stream protocol spoken by hand, for tests that speak it badly: frames and handshakes as rpc/wire/STREAM.md has them."""

import socket
import struct

from gear import expect

HELLO, WELCOME, ERROR, PING, PONG, OPEN, OPENED, CLOSE = range(1, 9)
APPEND, APPENDED, READ, RECORDS, CREDIT = range(16, 21)
APPENDER, READER, SUBSCRIBER = range(3)
OFFSET, EARLIEST, LATEST, LAST, TIMESTAMP = range(5)


def table_of_crc32c():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = table_of_crc32c()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frame(kind, payload=b"", channel=0, length=None):
    header = struct.pack("<IBBHIIQI", 0x4D524657, 1, kind, 0, len(payload) if length is None else length, channel, 0, 0)
    return header + struct.pack("<I", crc32c(header)) + payload


# --- Cap'n Proto, as far as the handshakes need it --------------------------------------------------------------------


def struct_pointer(offset, data, pointers):
    return struct.pack("<iHH", offset << 2, data, pointers)


def message(words):
    return struct.pack("<II", 0, len(words) // 8) + words


def hello():
    return frame(HELLO, message(struct_pointer(0, 1, 0) + struct.pack("<HHHH", 1, 1, 0, 0)))


def open_session(channel, log, kind, start=(EARLIEST, 0), credit=0):
    text = log.encode() + b"\0"
    text_words = text.ljust((len(text) + 7) // 8 * 8, b"\0")
    data = struct.pack("<HHIQQ", kind, 0, 0, credit, 0)
    name = struct.pack("<iI", (1 << 2) | 1, 2 | (len(text) << 3))
    where = struct_pointer(len(text_words) // 8, 2, 0)
    start_kind, value = start
    return frame(OPEN, message(struct_pointer(0, 3, 2) + data + name + where + text_words +
                               struct.pack("<QHHI", value, start_kind, 0, 0)), channel)


# --- Requests ---------------------------------------------------------------------------------------------------------


def batch(log_id, *records):
    body = b"".join(struct.pack("<I", len(record)) + record for record in records)
    head = struct.pack("<IBBHII", 0x54414257, 1, 0x81, 0, len(body), len(records))
    fields = struct.pack("<IQQQQ", 0, log_id, 0, 0, 0)
    return head + struct.pack("<I", crc32c(body + head[4:] + fields)) + fields + bytes(72) + body


def append(channel, request, log_id, *records):
    return frame(APPEND, struct.pack("<QIIQ", request, 0, 0, 0) + batch(log_id, *records), channel)


def read(channel, request, offset, size=1 << 20):
    return frame(READ, struct.pack("<QQQQIB3x", request, offset, 2**64 - 1, 2**64 - 1, size, OFFSET), channel)


class Peer:
    """One connection. frames() gives (kind, channel, payload)."""

    def __init__(self, wald, greet=True, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", wald.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        if greet:
            self.send(hello())
            expect(self.next()[0] == WELCOME, "no WELCOME")

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, size):
        while len(self.got) < size:
            piece = self.socket.recv(1 << 16)
            if not piece:
                return None
            self.got += piece
        taken, self.got = self.got[:size], self.got[size:]
        return taken

    def next(self):
        """(kind, channel, payload), or (None, 0, b"") at the end of the connection."""
        try:
            header = self.receive(32)
            if header is None:
                return None, 0, b""
            _, _, kind, _, length, channel, _, _, _ = struct.unpack("<IBBHIIQII", header)
            return kind, channel, self.receive(length) or b""
        except ConnectionResetError:
            return None, 0, b""

    def open(self, *arguments, **named):
        """The log's id and the start of a subscription."""
        self.send(open_session(*arguments, **named))
        kind, _, payload = self.next()
        expect(kind == OPENED, f"no OPENED but {kind}: {payload[24:]!r}")
        root = 8
        offset = struct.unpack_from("<i", payload, root)[0] >> 2
        data = root + 8 + offset * 8
        log_id, _trim, _commit, start = struct.unpack_from("<QQQQ", payload, data)
        return log_id, start

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.socket.close()


def error_of(payload):
    """(request, detail, name, message) of an ERROR."""
    request, detail, _, name_bytes, message_bytes, _ = struct.unpack_from("<QQBBHI", payload)
    text = payload[24:]
    return request, detail, text[:name_bytes].decode(), text[name_bytes:name_bytes + message_bytes].decode()


def records_of(payload):
    """(from, next, bytes of batches) of RECORDS."""
    _, start, end, _, _, size = struct.unpack_from("<QQQQII", payload)
    return start, end, size
