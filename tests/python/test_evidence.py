"""Heads and proofs as Python has them: their forms, what they bear, the script for those who have no aresbus, the command line."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import aresbus
import blake3
import pytest
from aresbus import InclusionProof, TreeHead, heads_in
from aresbus.cli import main

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/check_proof.py"
HEAD = TreeHead("0191348f-8d93-7c21-9b04-6d1f2a3b4c5d", 1, 2, 3, "ab" * 32)


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log", segment_bytes=1 << 16) as log:
        for n in range(1_500):
            log.append("trade", {"n": n}, aggregate_id="spot:X", source="bot", tags={"venue": "spot"})
        log.sync()
        yield log


def leaf_of(proof: InclusionProof) -> bytes:
    texts = b"".join(len(text.encode()).to_bytes(2, "little") + text.encode() for text in proof.texts)
    return blake3.blake3(b"\0" + proof.record + texts).digest()


def root_of(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else blake3.blake3(b"").digest()
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return blake3.blake3(b"\1" + root_of(leaves[:middle]) + root_of(leaves[middle:])).digest()


def test_the_root_is_that_of_another_implementation(log):
    leaves = [leaf_of(log.prove(seq)) for seq in range(200)]
    assert log.head().root != root_of(leaves).hex()
    with aresbus.Log(None) as small:
        assert small.head().root == root_of([]).hex()
        for size in range(1, 18):
            small.append("note", {"n": size}, source="" if size % 2 else "s")
            leaves = [leaf_of(small.prove(seq)) for seq in range(size)]
            assert small.head() == TreeHead(small.log_id, 1, size - 1, size, root_of(leaves).hex())


def test_a_reader_beside_the_writer_says_the_same(log):
    log.close()
    with aresbus.open(log.path, mode="r") as reader:
        head = reader.head()
        assert head.tree_size == 1_500
        assert reader.prove(7, head).holds


def test_a_head_survives_every_form_it_takes():
    assert TreeHead.from_dict(HEAD.to_dict()) == HEAD
    assert TreeHead.from_text(str(HEAD)) == HEAD
    assert pickle.loads(pickle.dumps(HEAD)) == HEAD
    assert heads_in(f"{HEAD}\n") == heads_in(json.dumps(HEAD.to_dict() | {"at_ns": 1}, indent=2)) == [HEAD]
    assert len({HEAD, TreeHead.from_text(str(HEAD))}) == 1


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"root": "AB" * 32}, "root"),
        ({"root": "ab" * 31}, "root"),
        ({"root": None}, "root"),
        ({"log_id": "me"}, "log_id"),
        ({"log_id": 7}, "log_id"),
        ({"tree_size": -1}, "tree_size"),
        ({"tree_size": True, "seq": 0}, "tree_size"),
        ({"tree_size": 4}, "seq"),
        ({"epoch": 1.0}, "epoch"),
    ],
)
def test_what_is_no_head_is_refused(change, names):
    with pytest.raises(ValueError, match=names):
        TreeHead.from_dict(HEAD.to_dict() | change)


def test_heads_of_a_file_are_found_or_the_line_is_named():
    assert heads_in(f"{HEAD}\n\n{HEAD}\n") == [HEAD, HEAD]
    assert heads_in(f"{HEAD}\n{str(HEAD)[:40]}") == [HEAD], "its writer died in the last line"
    with pytest.raises(ValueError, match="line 2"):
        heads_in(f"{HEAD}\nnonsense\n{HEAD}\n")
    for text in ("", "\n", "[]", "7", "nonsense"):
        with pytest.raises(ValueError, match=r"head|object"):
            heads_in(text)


def test_a_proof_survives_json_and_bears_no_change(log):
    proof = log.prove(1_234)
    assert proof.holds
    plain = json.loads(json.dumps(proof.to_dict()))
    assert InclusionProof.from_dict(plain) == proof
    for name, value in [
        ("seq", 1_235),
        ("record", plain["record"].replace(b'"n":1234'.hex(), b'"n":9234'.hex())),
        ("texts", ["trick", *plain["texts"][1:]]),
        ("path", plain["path"][1:]),
        ("path", [*plain["path"], plain["path"][0]]),
        ("head", plain["head"] | {"root": "00" * 32}),
    ]:
        assert plain[name] != value
        assert not InclusionProof.from_dict(plain | {name: value}).holds
    for broken in ({}, plain | {"record": "zz"}, plain | {"path": [7]}, plain | {"head": 7}):
        with pytest.raises(ValueError, match=r"."):
            InclusionProof.from_dict(broken)
    with pytest.raises(ValueError, match="no hash"):
        _ = InclusionProof.from_dict(plain | {"path": ["zz"]}).holds


def test_a_proof_to_a_head_that_was_kept(log):
    head = log.head()
    for n in range(300):
        log.append("quote", {"n": n})
    log.sync()
    assert log.prove(7, head).head == head
    assert log.prove(7).head == log.head() != head
    with pytest.raises(ValueError, match="no such event"):
        log.prove(1_600, head)
    with pytest.raises(ValueError, match="no durable event"):
        log.prove(1_800)
    other = TreeHead.from_dict(head.to_dict() | {"root": "00" * 32})
    with pytest.raises(aresbus.CorruptionError, match="--against"):
        log.prove(7, other)


def test_verify_takes_one_head_or_several_and_nothing_else(log):
    head = log.head()
    for against in (head, [head, head], iter([head])):
        result = log.verify(against=against)
        assert (result["findings"], result["heads"] > 0) == ([], True)
    wrong = TreeHead.from_dict(head.to_dict() | {"root": "00" * 32})
    (finding,) = aresbus.verify(log.path, against=wrong)["findings"]
    assert (finding["kind"], finding["first_seq"], finding["last_seq"]) == ("anchor", 0, 1_499)
    for nonsense in (7, "text", [7], object()):
        with pytest.raises(TypeError, match="TreeHead"):
            log.verify(against=nonsense)
    with pytest.raises(ValueError, match="no head"):
        log.verify(against=[])
    with pytest.raises(aresbus.ConfigError, match="where to begin"):
        log.verify(against=head, since=0)


def test_progress_is_told_and_its_error_comes_back(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        for _ in range(70):
            log.append_many([("n", {})] * 1_000)
    told: list[int] = []
    aresbus.verify(tmp_path / "log", progress=told.append)
    assert told
    with pytest.raises(ZeroDivisionError):
        aresbus.verify(tmp_path / "log", progress=lambda size: size / 0)


# The script for those who have no aresbus.


def check(folder: Path, heads: str, proof: dict) -> subprocess.CompletedProcess[str]:
    (folder / "heads").write_text(heads)
    (folder / "proof").write_text(json.dumps(proof))
    command = [sys.executable, "-I", str(SCRIPT), "heads", "proof"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_the_script_needs_no_aresbus_and_believes_no_forgery(log, tmp_path):
    text = SCRIPT.read_text()
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert len(text.splitlines()) <= 40
    assert imported == {"json", "sys", "pathlib", "blake3"}
    head = log.head()
    proof = log.prove(1_234).to_dict()
    done = check(tmp_path, f"{HEAD}\n{head}\n", proof)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, '{"n":1234}')
    assert "1234" in done.stdout
    assert "trade" in done.stdout
    shifted = proof | {"record": proof["record"] + (b"\x05\0trade").hex(), "texts": proof["texts"][1:]}
    for forged in (
        proof | {"record": proof["record"].replace(b'"n":1234'.hex(), b'"n":9234'.hex())},
        proof | {"seq": 1_235},
        proof | {"path": proof["path"][:-1]},
        shifted,
    ):
        done = check(tmp_path, f"{head}\n", forged)
        assert (done.returncode, done.stderr) == (1, "NOT PROVED\n")
    done = check(tmp_path, f"{HEAD}\n", proof)
    assert done.returncode == 1
    assert "another head" in done.stderr


def test_every_place_in_trees_of_every_shape_is_proved_by_the_script(tmp_path):
    with aresbus.Log(None) as log:
        for size in range(1, 12):
            log.append_bytes("blob", b"\0" * size)
            seq = size * 7 % size
            done = check(tmp_path, str(log.head()), log.prove(seq).to_dict())
            assert done.returncode == 0, done.stderr
            assert "no JSON" in done.stdout


def test_the_page_shows_the_script_as_it_is():
    assert (
        f'```python title="check_proof.py"\n{SCRIPT.read_text()}```\n'
        in (ROOT / "docs/evidence.md").read_text()
    )


# The command line.


def test_the_verbs_make_what_they_check(log, tmp_path, capsys):
    log.close()
    assert main(["head", log.path]) == 0
    line = capsys.readouterr().out
    head = TreeHead.from_text(line)
    kept = tmp_path / "heads.jsonl"
    kept.write_text(line)
    for given in (str(kept), line):
        assert main(["verify", log.path, "--against", given, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["checked"][log.path]["heads"] == 1
    assert main(["prove", log.path, "77", "--against", str(kept)]) == 0
    proof = InclusionProof.from_dict(json.loads(capsys.readouterr().out))
    assert proof.holds
    assert (proof.seq, proof.head) == (77, head)
    assert main(["prove", log.path, "77"]) == 0
    kept.write_text(str(TreeHead.from_dict(head.to_dict() | {"root": "00" * 32})))
    capsys.readouterr()
    assert main(["verify", log.path, "--against", str(kept)]) == 1
    shown = capsys.readouterr().out
    assert "anchor" in shown
    assert "0-1499" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "--against", "missing"),
        ("verify", "--against", "{}"),
        ("prove", "9999"),
        ("prove", "7", "--against", str(HEAD)),
        ("prove", "7", "--against", "missing"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(log, capsys, arguments):
    log.close()
    verb, *rest = arguments
    assert main([verb, log.path, *rest]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_since_leaves_out_old_segments(log, capsys):
    log.close()
    assert main(["verify", log.path, "--since", "2200-01-01T00:00:00Z", "--json"]) == 0
    some = json.loads(capsys.readouterr().out)["checked"][log.path]
    assert 0 < some["events"] < 1_500
    with pytest.raises(SystemExit):
        main(["verify", log.path, "--since", "0", "--against", str(HEAD)])
