"""What ``docs/openapi.json`` says: the directives ``openapi``, ``openapi-errors`` and ``openapi-schema``."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from generated import MarkdownDirective, table

FILE = Path(__file__).parents[1] / 'openapi.json'


class _Directive(MarkdownDirective):
    def description(self) -> dict[str, Any]:
        """Return the content of the file."""
        self.env.note_dependency(FILE)
        return dict(json.loads(FILE.read_text('utf-8')))


class OperationDirective(_Directive):
    """``{openapi} method path``: the parameters and the answers of a request."""

    required_arguments = 2

    def markdown(self) -> Iterable[str]:
        method, path = self.arguments
        description = self.description()
        operation = description['paths'].get(path, {}).get(method)
        if operation is None:
            raise ValueError(f'{FILE.name} has no {method} {path}')
        yield operation['summary'] + '.'
        if 'description' in operation:
            yield from ['', operation['description']]
        parameters = [
            [f'`{item["name"]}`', _type(item['schema']), 'yes' if item.get('required') else 'no', item['description']]
            for item in operation.get('parameters', [])
        ]
        if parameters:
            yield from ['', *table(['parameter', 'type', 'required', 'meaning'], parameters)]
        if 'requestBody' in operation:
            content = operation['requestBody']['content']
            schema = _type(content['application/json']['schema'])
            yield from ['', f'The body is a {schema}: {", ".join(f"`{media_type}`" for media_type in content)}.']
        rows, errors = [], []
        for code, answer in operation['responses'].items():
            if '$ref' in answer:
                errors.append(code)
            else:
                schema = answer.get('content', {}).get('application/json', {}).get('schema')
                rows.append([_reason(code), _type(schema) if schema else '', answer['description']])
        yield from ['', *table(['answer', 'JSON', 'meaning'], rows)]
        yield from ['', f'[Errors](#errors): {", ".join(errors)}.']


class ErrorsDirective(_Directive):
    """``{openapi-errors}``: the errors that several requests have in common."""

    def markdown(self) -> Iterable[str]:
        description = self.description()
        rows = {}
        for item in description['paths'].values():
            for operation in item.values():
                for code, answer in operation['responses'].items():
                    if '$ref' in answer:
                        error = _resolved(answer, description)
                        headers = ', '.join(f'`{name}`' for name in error.get('headers', {}) if name != 'Cache-Control')
                        rows[code] = [_reason(code), headers, error['description']]
        return table(['answer', 'headers', 'meaning'], [rows[code] for code in sorted(rows)])


class SchemaDirective(_Directive):
    """``{openapi-schema} name``: the members of a value."""

    required_arguments = 1

    def markdown(self) -> Iterable[str]:
        schema = self.description()['components']['schemas'].get(self.arguments[0])
        if schema is None:
            raise ValueError(f'{FILE.name} has no schema {self.arguments[0]}')
        required = schema.get('required', [])
        rows = [
            [f'`{name}`', _type(member), 'yes' if name in required else 'no', member.get('description', '')]
            for name, member in schema['properties'].items()
        ]
        return table(['member', 'type', 'always present', 'meaning'], rows)


def _resolved(item: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    """Return an item, or the one that it refers to."""
    if '$ref' in item:
        for name in item['$ref'].removeprefix('#/').split('/'):
            description = description[name]
        return description
    return item


def _reason(code: str) -> str:
    return f'{code} {HTTPStatus(int(code)).phrase}'


def _type(schema: dict[str, Any]) -> str:
    """Return a short name of the type of a value."""
    if '$ref' in schema:
        return f'*{schema["$ref"].rsplit("/", 1)[1]}*'
    if 'anyOf' in schema:
        return ' or '.join(map(_type, schema['anyOf']))
    if 'const' in schema:
        return f'`{json.dumps(schema["const"])}`'
    kind = schema.get('type', 'any JSON value')
    if kind == 'array':
        return f'array of {_type(schema["items"])}'
    return ' or '.join(kind) if isinstance(kind, list) else str(kind)


def setup(app: Any) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive('openapi', OperationDirective)
    app.add_directive('openapi-errors', ErrorsDirective)
    app.add_directive('openapi-schema', SchemaDirective)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
