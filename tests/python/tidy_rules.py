"""The rules of the tree that no off-the-shelf linter knows, each a function from text to findings.

Owns limits, layers, the places where `unsafe` and PyO3 may stand, and banned names. Knows no files: callers pass
a path (relative to the project, with slashes) and its text, so that each rule is itself tested on planted text.
A finding is one line of text that names the file, the line and the rule.
"""

import ast
import re
from itertools import pairwise

MAX_FILE_LINES = 400
MAX_STUB_LINES = 600
MAX_FUNCTION_LINES = 70
MIN_OPENING_WORDS = 8

RUST_LAYERS = (
    {"error", "config", "clock", "threads", "planted", "histogram", "heads", "json"},
    {"format"},
    {"evidence"},
    {"map"},
    {"vfs"},
    {"control"},
    {"segment", "place"},
    {"shelf"},
    {"tail"},
    {"recovery"},
    {"scan"},
    {"log"},
    {"verify", "excerpt", "salvage", "repair", "digest"},
    {"python"},
)
PYTHON_LAYERS = (
    {
        "_core",
        "_typing",
        "errors",
        "reports",
        "events",
        "config",
        "market_day",
        "readable",
        "zstd",
        "durable_files",
        "places",
        "evidence",
        "anchoring",
        "checkpoint_record",
    },
    {
        "schema",
        "audit",
        "reader_trails",
        "holds",
        "retention",
        "retaining",
        "log",
        "backups",
        "repairing",
        "clock",
        "snapshot_record",
        "troubles",
        "reducers",
        "rebuilding",
    },
    {"store", "legacy"},
    {"export"},
    {"salvaging"},
    {
        "snapshots",
        "snapshot_acts",
        "snapshot_policies",
        "snapshot_watch",
        "correlation",
        "metrics",
        "aggregates",
        "conflicts",
        "projections",
        "sqlite_projections",
    },
    {"repositories", "async_repositories", "tracing", "latency", "acts", "audit_export"},
    {"subscriptions", "watch", "publishing"},
    {"delivery", "vital_signs", "health"},
    {"foreign"},
    {"expiry"},
    {"housekeeping"},
    {"runner"},
    {"readings"},
    {"life"},
    {"subscribing"},
    {"bus", "replay"},
    {"figures", "prometheus", "otel", "endpoint"},
    {"testing", "benchmark", "__init__"},
    {"cli", "__main__"},
)
UNSAFE_PLACES = (
    "rust/map.rs",
    "rust/map/truncation.rs",
    "rust/python/capi.rs",
    "rust/python/capi/exact_json.rs",
    "rust/python/capi/gil_cell.rs",
)

BANNED_FILES = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}
BANNED_WORDS = {
    "stream": "aggregate, or feed",
    "revision": "aggregate_version",
    "journal": "log",
    "chunk": "segment or block",
    "purge": "retain",
    "deadletter": "park",
    "daemon": "keeper",
    "converter": "upcaster",
}
RUST_DEFINITION = re.compile(r"\b(?:fn|struct|enum|trait|mod|type|const|static)\s+(\w+)")
MARKERS = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
FOREIGN_PATH = re.compile(r"(?<![\w.~])/(?:work|home|root|Users)" + r"/\w")


def scrub(rust: str) -> str:
    """Rust text with the content of comments, strings and characters blanked; lines stay where they are."""
    token = re.compile(
        r'//[^\n]*|b?r(?P<hashes>#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'|/\*',
        re.DOTALL,
    )
    out, at = [], 0
    while match := token.search(rust, at):
        end = match.end()
        if match.group() == "/*":
            end = _end_of_block_comment(rust, end)
        out += [rust[at : match.start()], re.sub(r"[^\n]", " ", rust[match.start() : end])]
        at = end
    return "".join([*out, rust[at:]])


def _end_of_block_comment(rust: str, at: int) -> int:
    depth = 1
    for match in re.finditer(r"/\*|\*/", rust[at:]):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return at + match.end()
    return len(rust)


def production(rust: str) -> str:
    """The text of a Rust file before its own test module."""
    return re.split(r"^#\[cfg\(test\)\]\s*mod \w+ \{", rust, maxsplit=1, flags=re.MULTILINE)[0]


def line_of(text: str, at: int) -> int:
    """Number of the line, from 1, that a character stands on."""
    return text.count("\n", 0, at) + 1


def opening(path: str, text: str) -> list[str]:
    """Every file opens with a paragraph that says what it owns."""
    if path.endswith(".rs"):
        lead = re.match(r"(?://![^\n]*\n?)+", text)
        words = re.sub(r"//!", "", lead.group()).split() if lead else []
    else:
        words = (ast.get_docstring(ast.parse(text)) or "").split()
    if len(words) >= MIN_OPENING_WORDS:
        return []
    return [f"{path}:1: opens without a paragraph that says what it owns"]


def file_length(path: str, text: str) -> list[str]:
    """No file of more than 400 lines; a Rust file's own tests do not count, and the stub of one module cannot be two."""
    count = (production(text) if path.endswith(".rs") else text).count("\n")
    most = MAX_STUB_LINES if path.endswith(".pyi") else MAX_FILE_LINES
    return [f"{path}: {count} lines, at most {most}"] if count > most else []


def function_length(path: str, text: str) -> list[str]:
    """No function of more than 70 lines."""
    spans = _rust_functions(text) if path.endswith(".rs") else _python_functions(text)
    return [
        f"{path}:{first}: {name} has {last - first + 1} lines, at most {MAX_FUNCTION_LINES}"
        for name, first, last in spans
        if last - first + 1 > MAX_FUNCTION_LINES
    ]


def _rust_functions(text: str) -> list[tuple[str, int, int]]:
    code, found = scrub(text), []
    for match in re.finditer(r"\bfn (\w+)", code):
        end = _end_of_body(code, match.end())
        if end is not None:
            found.append((match.group(1), line_of(code, match.start()), line_of(code, end)))
    return found


def _end_of_body(code: str, at: int) -> int | None:
    """Where the braces that open after ``at`` close; None for a declaration without a body."""
    depth = brackets = 0
    for match in re.finditer(r"[{}();\[\]]", code[at:]):
        sign = match.group()
        brackets += (sign in "([") - (sign in ")]")
        if sign == ";" and depth == 0 and brackets == 0:
            return None
        depth += (sign == "{") - (sign == "}")
        if sign == "}" and depth == 0:
            return at + match.start()
    return None


def _python_functions(text: str) -> list[tuple[str, int, int]]:
    return [
        (node.name, node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def rust_module(path: str) -> list[str]:
    """``rust/tail/write.rs`` → ``["tail", "write"]``; ``rust/tail/mod.rs`` → ``["tail"]``."""
    parts = path.removeprefix("rust/").removesuffix(".rs").split("/")
    return parts[:-1] if parts[-1] == "mod" else parts


def rust_imports(path: str, text: str) -> set[tuple[int, str]]:
    """Line and top-level module of everything of this crate that production code names."""
    code, module, found = scrub(production(text)), rust_module(path), set()
    for match in re.finditer(r"\b(?:crate::|(?:super::)+)(?=(\w+|\{))", code):
        supers = match.group().count("super::")
        if supers and supers < len(module):
            continue
        line = line_of(code, match.start())
        names = _group(code, match.end()) if match.group(1) == "{" else [match.group(1)]
        found |= {(line, name) for name in names}
    return found


def _group(code: str, at: int) -> list[str]:
    """First names of the items of a ``{a::b, c::{d, e}}`` group that opens at ``at``."""
    depth, names, item = 0, [], ""
    for sign in code[at:]:
        depth += (sign == "{") - (sign == "}")
        if (sign == "," and depth == 1) or depth == 0:
            names += re.findall(r"\w+", item)[:1]
            item = ""
        elif not (sign == "{" and depth == 1):
            item += sign
        if depth == 0:
            break
    return names


def python_module(path: str) -> str:
    """``python/aresbus/cli/read.py`` → ``cli``; ``python/aresbus/bus.py`` → ``bus``."""
    return path.removeprefix("python/aresbus/").split("/")[0].removesuffix(".pyi").removesuffix(".py")


def python_imports(text: str) -> set[tuple[int, str]]:
    """Line and top-level module of everything of this package that is imported, wherever it is imported."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            whole = node.module == "aresbus"
            names = [f"{node.module}.{alias.name}" if whole else str(node.module) for alias in node.names]
        else:
            continue
        found |= {(node.lineno, name.split(".")[1]) for name in names if name.startswith("aresbus.")}
    return found


def relative_imports(path: str, text: str) -> list[str]:
    """Imports say from where: absolute ones only, so that the rule of direction sees them all."""
    return [
        f"{path}:{node.lineno}: relative import"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def direction(
    path: str, module: str, imports: set[tuple[int, str]], layers: tuple[set[str], ...]
) -> list[str]:
    """A module names only modules of its own layer and of those below."""
    rank = {name: at for at, names in enumerate(layers) for name in names}
    if module not in rank:
        return [f"{path}: {module} has no layer; give it a place in tests/python/tidy_rules.py"]
    return [
        f"{path}:{line}: {module} may not import {name}"
        for line, name in sorted(imports)
        if name != module and rank.get(name, 0 if name[0].isupper() else len(layers)) > rank[module]
    ]


def unsafe_places(path: str, text: str) -> list[str]:
    """`unsafe` stands in four files only, and each of its uses is argued in the lines above."""
    code, findings = scrub(text), []
    lines = text.splitlines()
    for match in re.finditer(r"\bunsafe\b", code):
        line = line_of(code, match.start())
        if path not in UNSAFE_PLACES:
            findings.append(f"{path}:{line}: unsafe outside {' and '.join(UNSAFE_PLACES)}")
        elif not _is_argued(lines, line):
            findings.append(f"{path}:{line}: unsafe without a SAFETY argument above it")
    return findings


def _is_argued(lines: list[str], line: int) -> bool:
    """Whether the comment nearest above, at most one statement away, argues safety."""
    nearest = lines[max(0, line - 20) : line]
    at = next(
        (at for at in range(len(nearest) - 1, -1, -1) if re.search(r"SAFETY|# Safety", nearest[at])), None
    )
    if at is None:
        return False
    between = [text for text in nearest[at + 1 : -1] if not text.strip().startswith(("//", "#["))]
    return len(between) <= 3  # the head of a wrapped call or signature


def rust_habits(path: str, text: str) -> list[str]:
    """No panics by habit in production code, no mutable statics, PyO3 under rust/python/ alone."""
    code = scrub(production(text))
    rules = [(r"\.(?:unwrap|expect)\(", "unwrap or expect"), (r"\bstatic mut\b", "static mut")]
    if not path.startswith("rust/python/"):
        rules.append((r"\bpyo3\b", "pyo3 outside rust/python/"))
    return [
        f"{path}:{line_of(code, match.start())}: {what}"
        for pattern, what in rules
        for match in re.finditer(pattern, code)
    ]


def names(path: str, text: str) -> list[str]:
    """No file called after nothing, no definition that uses a word with another meaning here (docs/glossary.md)."""
    stem = re.sub(r"\.\w+$", "", path)
    findings = [f"{path}: a file named {part}" for part in stem.split("/") if part in BANNED_FILES]
    for line, name in _rust_definitions(text) if path.endswith(".rs") else _python_definitions(text):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
        words += ["".join(pair) for pair in pairwise(words)]
        findings += [
            f"{path}:{line}: {name}: not {word}, say {BANNED_WORDS[word]}"
            for word in words
            if word in BANNED_WORDS
        ]
    return findings


def _rust_definitions(text: str) -> list[tuple[int, str]]:
    code = scrub(production(text))
    return [(line_of(code, match.start()), match.group(1)) for match in re.finditer(RUST_DEFINITION, code)]


def _python_definitions(text: str) -> list[tuple[int, str]]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [(node.lineno, node.name) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]


def leftovers(path: str, text: str) -> list[str]:
    """No note to self, no path of one developer's machine."""
    return [
        f"{path}:{line_of(text, match.start())}: {what}"
        for pattern, what in ((MARKERS, "a note to self"), (FOREIGN_PATH, "a path of one machine"))
        for match in pattern.finditer(text)
    ]
