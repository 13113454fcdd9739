"""Other tools' files → our rules file, and what is not supported. Tells the tool by the file's keys. Pure."""

import yaml

from pullahead.errors import ConfigError
from pullahead.rules.importers.regsync import read_regsync
from pullahead.rules.importers.result import ImportedMirror, ImportResult, NotImported, write_rules
from pullahead.rules.importers.skopeo import read_skopeo
from pullahead.rules.load import load_rules
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, RulesError
from pullahead.rules.yaml_document import invalid_yaml

__all__ = [
    "ImportFileError",
    "ImportResult",
    "ImportedMirror",
    "NotImported",
    "import_rules",
    "write_rules",
    "write_valid_rules",
]


_KEPT = frozenset({"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"})


class _TextLoader(yaml.SafeLoader):
    """Reads single values as they are written, as Go reads strings: a tag 3.20 is not a number here."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class ImportFileError(ConfigError):
    """A file that is not of a supported tool."""


def import_rules(text: str, *, source: str, prefix: str = "mirror", target: str | None = None) -> ImportResult:
    """Convert a file of regsync or of skopeo sync.

    `target` is the registry whose repositories are imported from a file that names several; by default the first that
    is of ECR, else the first. Raises ImportFileError.
    """
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise ImportFileError(f"{source} is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = yaml.load(text, Loader=_TextLoader)  # noqa: S506 - it is a safe one
    except yaml.YAMLError as error:
        wrong = invalid_yaml(error, text)
        raise ImportFileError(f"{source}:{wrong.line}: {wrong.message}. {wrong.hint}".rstrip()) from error
    if isinstance(document, dict) and isinstance(document.get("sync", ""), list | None):
        return read_regsync(document, target)
    of_hosts = list(document.values()) if isinstance(document, dict) else []
    if any(isinstance(each, dict) for each in of_hosts) and all(isinstance(each, dict | None) for each in of_hosts):
        return read_skopeo(document, prefix)
    raise ImportFileError(f"{source} is neither a file of regsync (with sync:) nor of skopeo sync (registries as keys)")


def write_valid_rules(imported: ImportResult, *, source: str) -> str:
    """Write a rules file that loads: what it would be refused for is left out, and reported like the rest.

    Raises RulesError for what is in no mirror and no setting, which is a defect.
    """
    while True:
        text = write_rules(imported, source=source)
        try:
            load_rules(text, source="the imported rules")
        except RulesError as error:
            if not imported.leave_out_invalid(error.problems):
                raise
        else:
            return text
