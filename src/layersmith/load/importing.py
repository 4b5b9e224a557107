"""Imports a target the way Python itself would, and says in one line why that failed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from layersmith.errors import TargetError
from layersmith.load import absent, definitions, loader, notebook, parents, project, script
from layersmith.load.target import Target

_PACKAGES = re.compile(r"^(?:from|import) +([A-Za-z_]\w*)\.\w", re.MULTILINE)
_LEVELS = 4  # how far above a file its project may begin


@dataclass(slots=True)
class _Process:
    """What is true of the process."""

    is_of_files: bool = False  # nobody else's: what it runs may import what lies beside its file


_this = _Process()


def watch() -> None:
    """Have, for the rest of this process, constructors and forwards find what lies beside their files."""
    _this.is_of_files = True


def import_target(target: Target) -> ModuleType:
    """The module that a target names, imported and registered in `sys.modules`.

    A file in a package is imported as part of that package, so that relative imports work. It is never
    `__main__`: of what stands below `if __name__ == "__main__"`, only globals that its classes read are set. A file
    that trains when it is imported, or that cannot be, is run without that (see `definitions`).

    Raises:
        TargetError: whatever the import raised, SystemExit included, with file and line.
    """
    if not target.path:
        return _importing(target.module, target.module, [Path.cwd()], target.module)
    file = Path(target.path).resolve()
    root, name = _root_and_name(file)
    folders = [root, *_beside(file, name), *_homes_of_imports(file, root)]
    plain = [folder for folder in folders if not _hides_a_package(folder, file)]
    if plain and plain != folders:
        with contextlib.suppress(TargetError):
            return _importing(target.path, name, plain, file)
    try:
        return _importing(target.path, name, folders, file)
    except TargetError as refusal:
        if not isinstance(refusal.__cause__, Exception | SystemExit | loader.TookTooLong):
            raise
        found = _otherwise(refusal, target.path, name, folders, file)
        if found is None:
            raise
        return found


def _importing(said: str, name: str, folders: list[Path], what: Path | str) -> ModuleType:
    try:
        with _importable_from(folders, argument=str(what)), loader.found():
            module = _import_file(what, name) if isinstance(what, Path) else importlib.import_module(name)
            script.settle(module)
            return module
    except BaseException as error:
        raise TargetError(_explained(error, said)) from error


def _otherwise(
    refusal: TargetError, said: str, name: str, folders: list[Path], file: Path
) -> ModuleType | None:
    """The file imported with more folders on the path, or below packages of which a part was left out."""
    tried: set[str] = set()
    while isinstance(refusal.__cause__, ImportError):
        missing = (refusal.__cause__.name or "").partition(".")[0]
        home = _home_of(missing, file) if missing not in tried else None
        if home is None:
            break
        tried.add(missing)
        folders = [home, *folders]
        parents.forget(missing)
        try:
            return _importing(said, name, folders, file)
        except TargetError as another:
            refusal = another
    if "." in name and file.name != "__init__.py":
        with contextlib.suppress(TargetError), _importable_from(folders, argument=str(file)):
            if parents.tolerated(name, _root_and_name(file)[0]):
                return _importing(said, name, folders, file)
    if isinstance(refusal.__cause__, ModuleNotFoundError):
        with contextlib.suppress(TargetError), absent.standing_in():
            return _importing(said, name, folders, file)
    with contextlib.suppress(TargetError), loader.tolerated():
        module = _importing(said, name, folders, file)
        if definitions.has_class(module):
            return module
        sys.modules.pop(module.__name__, None)
    return None


def _home_of(missing: str, file: Path) -> Path | None:
    """The folder of the project's one file of that name, where a launcher's PYTHONPATH would name it."""
    folder = project.folder_of(file)
    if folder is None or not missing or missing in sys.stdlib_module_names:
        return None
    found = [path for path in project.files_of(folder, (".py",)) if path.stem == missing]
    return found[0].parent if len(found) == 1 else None


def _root_and_name(file: Path) -> tuple[Path, str]:
    """The folder that has to be on `sys.path`, and the dotted name of the file seen from there.

    A folder is a package if it has an `__init__.py`, or if the file imports relatively: so it is used as one.
    """
    root, parts = file.parent, [] if file.stem == "__init__" else [file.stem]
    dots = max(map(len, re.findall(r"^[ \t]*from[ \t]+(\.+)", _text_of(file), re.MULTILINE)), default=0)
    while (len(parts) <= dots and "." not in root.name) or (  # Python takes `my-project` as well
        root.name.isidentifier() and (root / "__init__.py").exists()
    ):
        parts.insert(0, root.name)
        root = root.parent
    return root, ".".join(parts)


def _import_file(file: Path, name: str) -> ModuleType:
    known = sys.modules.get(name)
    if known is not None and _is_from(known, file):
        return known
    if (
        known is None
        and name.isidentifier()
        and name not in sys.stdlib_module_names
        and not _is_installed(name, file)
    ):
        return _executed(file, name)
    if "." in name and known is None:
        return importlib.import_module(name)
    unique = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    alias = f"{re.sub(r'[^0-9A-Za-z]', '_', file.stem)}_{unique}"
    return sys.modules.get(alias) or _executed(file, alias)


def _executed(file: Path, name: str) -> ModuleType:
    run: Callable[[ModuleType], object]
    if notebook.is_notebook(file):
        module, run = ModuleType(name), functools.partial(_execute_cells, file)
        module.__file__ = str(file)
    else:
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(
            name, file, loader=loader.Loader(name, str(file)), submodule_search_locations=inside
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"no loader for {file}")
        module, run = importlib.util.module_from_spec(spec), spec.loader.exec_module
    sys.modules[name] = module
    try:
        run(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _execute_cells(file: Path, module: ModuleType) -> None:
    error = definitions.run([*notebook.statements(file)], module)
    if error is not None and not definitions.has_class(module):
        raise error


def _is_from(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == file


def _is_installed(name: str, file: Path) -> bool:
    """Whether that name means another file already (`torch.py` must not hide torch)."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() != file


def _text_of(file: Path) -> str:
    return file.read_text(encoding="utf8", errors="replace") if file.exists() else ""


def _beside(file: Path, name: str) -> list[Path]:
    """The file's own folder, unless a file in it would stand for the package, as utils/utils.py does for utils."""
    package = name.rpartition(".")[0].partition(".")[0]
    return [] if package and (file.parent / f"{package}.py").exists() else [file.parent]


def _hides_a_package(folder: Path, file: Path) -> bool:
    """Whether a file in that folder has the name of a package that is imported from: `utils.py`, of `utils.masking`.

    By the file, or by one beside it, unless the file wants that module itself.
    """
    names = {one for one in _packages_named(file.parent) if (folder / f"{one}.py").exists()}
    hidden = {one for one in names if not (folder / one).is_dir()}
    return any(
        not re.search(rf"^\s*(?:from|import)\s+{one}\b(?!\.)", _text_of(file), re.MULTILINE) for one in hidden
    )


@functools.lru_cache(maxsize=256)
def _packages_named(folder: Path) -> frozenset[str]:
    """The packages from which files of a folder import."""
    return frozenset(
        name for one in sorted(folder.glob("*.py")) for name in _PACKAGES.findall(project.text_of(one))
    )


def _homes_of_imports(file: Path, root: Path) -> list[Path]:
    """Folders above the file that hold what it imports, as when it is run from the project's root."""
    tops = set(re.findall(r"^\s*(?:from|import)\s+([A-Za-z_]\w*)", _text_of(file), re.MULTILINE)) - set(
        sys.stdlib_module_names
    )
    between = [folder for folder in file.parents[1:] if folder.is_relative_to(root) and folder != root]
    above = [*between, *[folder for folder in root.parents if len(folder.parts) > 1][:_LEVELS]]
    if (root / root.name).exists():  # the package, in a project of its name
        tops -= {root.name}
    return [
        folder
        for folder in above
        if any((folder / top).is_dir() or (folder / f"{top}.py").exists() for top in tops - {"torch"})
    ]


@contextlib.contextmanager
def _importable_from(folders: list[Path], *, argument: str) -> Iterator[None]:
    """These folders on `sys.path`, the file as only command line argument, and no bytecode left behind."""
    path, argv, writes = list(sys.path), sys.argv, sys.dont_write_bytecode
    first, *rest = dict.fromkeys(map(str, folders))
    sys.path[:] = [first, *path, *rest]
    sys.argv, sys.dont_write_bytecode = [argument], True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = [*path, *(one for one in [first, *rest] if _this.is_of_files and one not in path)]
        sys.argv, sys.dont_write_bytecode = argv, writes


def _explained(error: BaseException, said: str) -> str:
    place = _place(error)
    at = f" at {place}" if place else ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"skipped: needs {error.name}, which is not installed (imported{at})"
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: syntax error: {error.msg}"
    if isinstance(error, SystemExit):
        return f"import of {said} called sys.exit({error.code!r}){at}"
    if isinstance(error, loader.TookTooLong):
        return f"import of {said} {error}{at}"
    message = str(error).strip().splitlines()
    text = f": {message[0]}" if message else ""
    return f"import of {said} raised {type(error).__name__}{at}{text}"


def _place(error: BaseException) -> str:
    """The innermost line of the user's own code: not the import machinery, a library or Layersmith."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_foreign(frame.filename)]
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def _is_foreign(filename: str) -> bool:
    return project.is_foreign(filename) or filename.startswith(str(Path(__file__).parent))


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
