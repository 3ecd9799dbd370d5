import ast
import sys
from pathlib import Path

import pytest

from core.bundle import bundle

IMAGE = {
    name: bundle("image.pipeline", [name], "Doc.")
    for name in ("UnisonImagePipeline", "UnisonImageTransformer", "UnisonImageCodec")
}


@pytest.mark.parametrize("name", IMAGE)
def test_a_bundle_imports_neither_us_nor_what_only_we_need(name):
    found = [
        n for n in ast.walk(ast.parse(IMAGE[name])) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    modules = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in found}
    roots = {str(module).split(".")[0] for module in modules}
    assert roots - sys.stdlib_module_names == roots & {"torch", "functorch", "diffusers", "PIL"}
    assert "torch" in roots


@pytest.mark.parametrize("name", IMAGE)
def test_a_bundle_defines_all_that_it_uses(name):
    tree = ast.parse(IMAGE[name])
    known = set(dir(__builtins__)) | set(__builtins__ if isinstance(__builtins__, dict) else ())
    bound = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    bound |= {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {a.asname or a.name.split(".")[0] for n in ast.walk(tree)
              if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}  # fmt: skip
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert used - bound - known == set()


def test_a_bundle_leaves_out_what_is_not_needed():
    codec = IMAGE["UnisonImageCodec"]
    assert "class Patches" in codec
    assert "class Denoiser" not in codec
    assert "jaxtyping" not in codec
    assert "Float[" not in codec
    assert "# MPS has no float64" in codec


def house(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Make a package `house` that counts as ours."""
    (folder / "house").mkdir()
    (folder / "house/__init__.py").touch()
    for name, text in modules.items():
        (folder / "house" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    for name in [n for n in sys.modules if n.split(".")[0] == "house"]:
        monkeypatch.delitem(sys.modules, name)


def test_imports_inside_functions_and_constants_come_along(tmp_path, monkeypatch):
    house(
        tmp_path, monkeypatch,
        a='"""A."""\nimport math as m\n\n# Why.\nSIZE = 3\n"""Of it."""\nOTHER = 4\n',
        b='"""B."""\nfrom house.c import twice\n\n\ndef made() -> int:\n'
        '    from house.a import SIZE\n    return twice(SIZE)\n',
        c='"""C."""\ndef twice(x):\n    return 2 * x\n',
    )  # fmt: skip
    text = bundle("house.b", ["made"], "Both.")
    scope: dict = {}
    exec(text, scope)
    assert scope["made"]() == 6
    assert '# Why.\nSIZE = 3\n"""Of it."""' in text
    assert "OTHER" not in text
    assert "math" not in text


def test_a_name_that_means_two_things_is_a_defect(tmp_path, monkeypatch):
    house(
        tmp_path, monkeypatch,
        a='"""A."""\nfrom house.b import seen\n\n\ndef _own():\n    return 1\n\n\ndef made():\n'
        '    return _own() + seen()\n',
        b='"""B."""\ndef _own():\n    return 2\n\n\ndef seen():\n    return _own()\n',
    )  # fmt: skip
    with pytest.raises(AssertionError, match="_own is defined in"):
        bundle("house.a", ["made"], "Both.")
