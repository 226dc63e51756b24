"""Check that an event is among those a kept head speaks of: python check_proof.py HEADS PROOF (pip install blake3).

Knows nothing of aresbus; the rules stand in docs/format.md, "Evidence". HEADS: a file with the head that you kept, or
with many, one a line. PROOF: what `aresbus prove` printed. Exit code 0: proved; 1: not.
"""

import json
import sys
from pathlib import Path

from blake3 import blake3

kept = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
proof = json.loads(Path(sys.argv[2]).read_text())
head, seq, record = proof["head"], proof["seq"], bytes.fromhex(proof["record"])
word, own_seq, at_ns, size = (
    int.from_bytes(record[at:end], "little") for at, end in ((0, 4), (8, 16), (16, 24), (44, 48))
)
# A proof may bring a head of its own: it has to be one that was kept.
is_kept = any(all(one[name] == head[name] for name in ("log_id", "tree_size", "root")) for one in kept)
# The leaf; without a look at the record's own length its end could be passed off as a text.
texts = [text.encode() for text in proof["texts"]]
node = blake3(b"\0" + record + b"".join(len(one).to_bytes(2, "little") + one for one in texts)).digest()
at, last = seq, head["tree_size"] - 1
is_inside = at == own_seq <= last and word % 2**28 == len(record)
# From the leaf to the root: RFC 9162, section 2.1.3.2.
for step in map(bytes.fromhex, proof["path"]):
    is_inside = is_inside and last > 0
    is_left = at % 2 == 0 and at != last
    node = blake3(b"\1" + (node + step if is_left else step + node)).digest()
    while not is_left and at % 2 == 0 and at:
        at, last = at // 2, last // 2
    at, last = at // 2, last // 2
if not is_kept or not is_inside or last or node.hex() != head["root"]:
    sys.exit("NOT PROVED" if is_kept else "NOT PROVED: the proof is for another head than those you kept")
is_json = record[40] in (1, 2)
print(f"proved: event {seq} of log {head['log_id']}, appended at {at_ns} ns: {texts[0].decode()}")
print(record.rstrip(b"\0")[-size:].decode() if is_json else f"{size} bytes that are no JSON")
