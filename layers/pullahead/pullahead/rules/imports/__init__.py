"""Other tools' files → our rules file, and what could not be carried over. Pure: texts in, texts out."""

from pullahead.rules.imports.imported import Imported, ImportedMirror, LeftOut
from pullahead.rules.imports.reading import ImportFileError, import_rules
from pullahead.rules.imports.writing import write_rules

__all__ = ["ImportFileError", "Imported", "ImportedMirror", "LeftOut", "import_rules", "write_rules"]
