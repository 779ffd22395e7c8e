#!/usr/bin/env python3
"""Writes the API as Microsoft's client of Key Vault has it: what api.json holds.

    describe.py >api.json

The client's inner part is generated from Microsoft's description of the API, which no package has in a form that a program
reads: so the operations are taken from the functions that build requests, the models from the classes of requests and
answers. A field is of one of the types base64url, boolean, date (seconds of Unix), integer, string and texts (an object whose
values are strings), of a model, of an enumeration, or a list of one of them. `answered` are fields of answers only.
"""

import enum
import importlib.metadata
import inspect
import json
import re
import urllib.parse

from azure.keyvault.keys import ApiVersion
from azure.keyvault.keys._generated import models
from azure.keyvault.keys._generated._operations import _operations

TYPES = {"str": "string", "bool": "boolean", "int": "integer"}
FORMATS = {"base64url": "base64url", "unix-timestamp": "date"}


def kind(annotation, form=None):
    """The name of a type, from how the client writes it."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    words = re.findall(r"\w+", text)
    # Beside an enumeration stands its text, beside a model what can be read as one.
    names = [word for word in words if inspect.isclass(getattr(models, word, None))]
    if form in FORMATS:
        names.append(FORMATS[form])
    if "dict" in text.lower():
        names.append("texts")
    name = (names + [TYPES[word] for word in words if word in TYPES])[0]
    return [name] if re.search(r"\blist\[", text, re.IGNORECASE) else name


def model(of):
    fields = {False: {}, True: {}}
    for name, annotation in of.__annotations__.items():
        field = vars(of)[name]
        fields[field._visibility == ["read"]][field._rest_name_input or name] = kind(annotation, field._format)
    return {"fields": fields[False], "answered": fields[True]}


def operation(name):
    build = getattr(_operations, f"build_key_vault_{name}_request")
    values = {"key_name": "key-name", "key_version": "key-version", "maxresults": 1}
    given = {key: value for key, value in values.items() if key in inspect.signature(build).parameters}
    request = build(**given)
    url = urllib.parse.urlsplit(request.url)
    function = getattr(_operations._KeyVaultClientOperationsMixin, name)
    signature = inspect.signature(function)
    returned = signature.return_annotation
    answer = None if returned is None else kind(returned)
    asked = [it for it in signature.parameters.values() if "IO[bytes]" in str(it.annotation)]
    return {
        "method": request.method,
        # The parts of the path that stand for names are known by what was given for them.
        "path": re.sub(r"/(key-name|key-version)", r"/{\1}", url.path),
        "query": sorted(key for key, _ in urllib.parse.parse_qsl(url.query)),
        "request": kind(asked[0].annotation) if asked else None,
        "answer": [answer] if "ItemPaged" in str(returned) else answer,
    }


def main():
    names = re.findall(r"^def build_key_vault_(\w+)_request", inspect.getsource(_operations), re.MULTILINE)
    of = [value for _, value in sorted(vars(models).items()) if inspect.isclass(value)]
    print(
        json.dumps(
            {
                "source": "the generated part of PyPI azure-keyvault-keys " + importlib.metadata.version("azure-keyvault-keys"),
                "versions": sorted(version.value for version in ApiVersion),
                "operations": {name: operation(name) for name in sorted(names)},
                "models": {value.__name__: model(value) for value in of if not issubclass(value, enum.Enum)},
                "enumerations": {value.__name__: [it.value for it in value] for value in of if issubclass(value, enum.Enum)},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
