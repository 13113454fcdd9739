"""The JSON Schema of rules files, for editors: made of the keys that the loader knows. Pure."""

import json

from pullahead.rules.keys import DOCUMENT

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """Write the schema. It refuses less than the loader: what two keys mean together, it cannot say."""
    schema = {
        "$schema": DIALECT,
        "title": "Rules of Pullahead",
        "description": "What is mirrored into ECR. `pullahead validate` says what is wrong with a file.",
        **DOCUMENT.form,
    }
    return f"{json.dumps(schema, indent=2)}\n"
