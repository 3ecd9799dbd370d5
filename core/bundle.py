"""One Python file of ours for those who have not got Unison: what some names need, and no more.

A folder that `diffusers` loads may bring code, but each part of it as a single file. So statements
are taken over from our modules as they stand, comments included, in an order in which they can be
run. Three things change: imports of our own go, as what they name is in the file; shapes
(`Float[Tensor, "B T"]`) become the plain type; and einops' `rearrange` comes from torch, which has
one. What is left needs torch, numpy, Pillow and diffusers only.
"""

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHAPES = "jaxtyping"
"""Its annotations are replaced by the type that they are of."""
STAND_INS = {("einops", "rearrange"): "functorch.einops"}
"""Name of a library that the reader may lack -> where torch has the same."""


@dataclass(frozen=True)
class Import:
    """Where a name that a module imports comes from."""

    module: str
    """The module that has it, or that it is."""
    name: str | None
    """Its name there; None where the module itself is imported."""


@dataclass
class Source:
    """A module as statements, each known by the names that it defines."""

    lines: list[bytes]
    imports: dict[str, Import] = field(default_factory=dict)
    statements: list[tuple[ast.stmt, int, int]] = field(default_factory=list)
    """Statement, its first line (comments above it included) and its last, counted from 0."""
    defined: dict[str, int] = field(default_factory=dict)
    """Name -> number of the statement."""


def bundle(module: str, names: Sequence[str], doc: str) -> str:
    """Return the text of a file that defines names of a module and imports nothing of ours.

    Ours are the module's own package and `core`.

    Args:
        module: As it is imported.
        names: What the file is to define.
        doc: Its docstring.
    """
    found = Collection(("core", module.split(".")[0]))
    for name in names:
        found.take(module, name)
    found.check_names()
    text = "\n\n\n".join([f'"""{doc}"""\n\n{_import_lines(found.foreign)}', *found.texts()])
    return text + "\n"


@dataclass
class Collection:
    """Statements that are taken over, of all modules that have any."""

    ours: tuple[str, ...]
    """Packages whose statements are taken over."""
    sources: dict[str, Source] = field(default_factory=dict)
    taken: dict[str, set[int]] = field(default_factory=dict)
    """Module -> numbers of its statements."""
    foreign: dict[str, Import] = field(default_factory=dict)
    """Name -> where it is imported from."""

    def take(self, module: str, name: str) -> None:
        """Take over what a name means in a module, with all that it needs."""
        if module not in self.sources:
            self.sources[module], self.taken[module] = _read(module), set()
        source = self.sources[module]
        if name in source.imports:
            self._follow(name, source.imports[name])
        elif name in source.defined and source.defined[name] not in self.taken[module]:
            self.taken[module].add(source.defined[name])
            node, *_ = source.statements[source.defined[name]]
            for used in sorted(_used(node)):
                self.take(module, used)
            for inner in _inner_imports(node, self.ours):
                for alias in inner.names:
                    self.take(inner.module or "", alias.name)

    def _follow(self, name: str, found: Import) -> None:
        if _is_of(found.module, self.ours):
            assert found.name == name, f"{found.module}.{found.name} is imported as {name}"
            self.take(found.module, name)
        elif found.module != SHAPES:
            assert self.foreign.setdefault(name, found) == found, f"{name} means two things"

    def texts(self) -> list[str]:
        """Return the statements, each after those that it needs to be run."""
        return [
            _text(self.sources[module], number, self.ours)
            for module in _ordered(self.sources)
            for number in sorted(self.taken[module])
        ]

    def check_names(self) -> None:
        """Assert that what stood in several modules can stand in one."""
        owner: dict[str, str] = dict.fromkeys(self.foreign, "a library")
        for module, numbers in self.taken.items():
            for name, number in self.sources[module].defined.items():
                if number in numbers:
                    other = owner.setdefault(name, module)
                    assert other == module, f"{name} is defined in {other} and in {module}"
        lost = {name for name, found in self.foreign.items() if found.module == "einops"}
        assert lost <= {name for _, name in STAND_INS}, f"torch has no {lost} of einops"


def _is_of(module: str | None, packages: Sequence[str]) -> bool:
    return module is not None and module.split(".")[0] in packages


def _read(name: str) -> Source:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} cannot be found"
    assert spec.origin is not None, f"{name} is no file"
    code = Path(spec.origin).read_bytes()
    source, last = Source(code.splitlines(keepends=True)), 0
    for node in ast.parse(code).body:
        assert node.end_lineno is not None
        if isinstance(node, ast.Import | ast.ImportFrom):
            source.imports |= dict(_imported(node))
        elif isinstance(node, ast.Expr) and source.statements:  # says what the one before it is
            before, first, _ = source.statements[-1]
            source.statements[-1] = (before, first, node.end_lineno)
        elif not isinstance(node, ast.Expr):
            source.defined |= dict.fromkeys(_bound(node), len(source.statements))
            source.statements.append((node, last, node.end_lineno))
        last = node.end_lineno
    return source


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports name their package"
            yield alias.asname or alias.name, Import(node.module, alias.name)
        else:
            yield alias.asname or alias.name.split(".")[0], Import(alias.name, None)


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]


def _used(node: ast.stmt) -> set[str]:
    """Return the names that a statement may need; one of its own variables does no harm."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _inner_imports(node: ast.stmt, ours: Sequence[str]) -> list[ast.ImportFrom]:
    found = [n for n in ast.walk(node) if isinstance(n, ast.ImportFrom)]
    return [n for n in found if _is_of(n.module, ours)]


def _ordered(sources: dict[str, Source]) -> list[str]:
    """Return the modules so that each follows those that it imports."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name in sources and name not in done:
            for found in sources[name].imports.values():
                visit(found.module)
            done.append(name)

    for name in sorted(sources):
        visit(name)
    return done


def _text(source: Source, number: int, ours: Sequence[str]) -> str:
    """Return a statement as the file has it."""
    node, first, last = source.statements[number]
    lines = source.lines[first:last]
    for start, end, new in sorted(_edits(source, node, ours), reverse=True):
        (row, column), (end_row, end_column) = start, end
        row, end_row = row - 1 - first, end_row - 1 - first
        joined = lines[row][:column] + new + lines[end_row][end_column:]
        lines[row : end_row + 1] = [joined] if joined.strip() else []
    return b"".join(lines).decode().strip("\n")


Place = tuple[int, int]
"""Line, counted from 1, and byte in it."""


def _edits(
    source: Source, node: ast.stmt, ours: Sequence[str]
) -> Iterator[tuple[Place, Place, bytes]]:
    """Yield from where to where a statement's text is replaced, and by what."""
    for found in ast.walk(node):
        if isinstance(found, ast.Subscript) and _is_shape(source, found):
            assert isinstance(found.slice, ast.Tuple)
            yield *_span(found), ast.unparse(found.slice.elts[0]).encode()
    for inner in _inner_imports(node, ours):
        yield *_span(inner), b""


def _is_shape(source: Source, node: ast.Subscript) -> bool:
    name = node.value.id if isinstance(node.value, ast.Name) else ""
    return name in source.imports and source.imports[name].module == SHAPES


def _span(node: ast.expr | ast.stmt) -> tuple[Place, Place]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _import_lines(foreign: dict[str, Import]) -> str:
    """Return the imports of others that the statements need, one line a module."""
    whole, parts = [], {}
    for name, found in foreign.items():
        own = name == (found.name or found.module)
        shown = (found.name or found.module) + ("" if own else f" as {name}")
        if found.name is None:
            whole.append(f"import {shown}")
        else:
            module = STAND_INS.get((found.module, found.name), found.module)
            parts.setdefault(module, []).append(shown)
    named = [f"from {m} import {', '.join(sorted(names))}" for m, names in sorted(parts.items())]
    return "\n".join([*sorted(whole), *named])
