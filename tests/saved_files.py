"""Take files of `save` apart, and put them together again with other contents.

This module follows the description of the format and does not use the package's own code.
"""

from __future__ import annotations

import hashlib
import json

BEGINNING = b'{"__metadata__":{"sknn":"{\\"sha256\\":\\"'
PLACE = 8 + len(BEGINNING)


def sealed(data):
    """Return the bytes of a file with the correct checksum in its place."""
    blank = data[:PLACE] + b"0" * 64 + data[PLACE + 64 :]
    return data[:PLACE] + hashlib.sha256(blank).hexdigest().encode() + data[PLACE + 64 :]


def taken_apart(data):
    """Return the document, the other entries of the header, and the bytes of the arrays."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    document = json.loads(header.pop("__metadata__")["sknn"])
    del document["sha256"]
    return document, header, data[end:]


def put_together(document, header, body):
    """Return the bytes of a file with this document, header and body.

    `document` is a dictionary, or the text that follows the checksum. `header` is a dictionary of
    the header's other entries, or their text. `body` holds the bytes of the arrays.
    """
    text = document if isinstance(document, str) else json.dumps(document)[1:]
    text = '{"sha256":"' + "0" * 64 + '",' + text
    entries = header if isinstance(header, str) else json.dumps(header)[1:]
    both = json.dumps({"__metadata__": {"sknn": text}}, separators=(",", ":"))[:-1]
    joined = (both + ("," if entries != "}" else "") + entries).encode()
    joined += b" " * (-len(joined) % 8)
    return sealed(len(joined).to_bytes(8, "little") + joined + body)


def with_arrays(header, body, **arrays):
    """Return the header's entries and the body with more arrays after the existing ones."""
    header = dict(header)
    codes = {"uint8": "U8", "int64": "I64", "float64": "F64", "bool": "BOOL", "uint32": "U32"}
    for name, array in arrays.items():
        header[name] = {
            "dtype": codes[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + array.nbytes],
        }
        body += array.tobytes()
    return header, body
