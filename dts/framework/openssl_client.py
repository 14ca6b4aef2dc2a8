# SPDX-License-Identifier: BSD-3-Clause
"""`openssl s_client` as a caller: somebody else's TLS, with and without the key."""
import base64
import subprocess

SUITE = 0x1302  # TLS_AES_256_GCM_SHA384
VERSION = 0x0304


def der(tag, body):
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def number(value):
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def session(path, key, suite=SUITE):
    """A file for -psk_session: OpenSSL's ASN.1 of a session that holds an external key."""
    body = (number(1) + number(VERSION) + der(0x04, suite.to_bytes(2, "big")) + der(0x04, b"")
            + der(0x04, key) + der(0xa1, number(1)) + der(0xa2, number(1 << 30))
            + der(0xa4, der(0x04, b"")))
    text = base64.encodebytes(der(0x30, body)).decode("ascii")
    path.write_text(f"-----BEGIN SSL SESSION PARAMETERS-----\n{text}-----END SSL SESSION PARAMETERS-----\n",
                    "ascii")
    return path


def call(port, options, says=b"", seconds=3):
    """@return what came, decrypted, and what s_client had to say."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-no_ign_eof", *options]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    try:
        client.stdin.write(says)
        client.stdin.flush()
        client.wait(seconds)
    except (subprocess.TimeoutExpired, BrokenPipeError):
        pass
    client.kill()
    out, err = client.communicate()
    return out, err.decode("utf-8", "replace")
