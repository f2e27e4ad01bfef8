"""What is wrong with the input of an operation, in the words of Flash's server (graphql-js 16 under Apollo).

The GraphQL package of the sandbox checks the same and says it in other words; clients match the server's.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    OperationDefinitionNode,
    Undefined,
    is_leaf_type,
    is_required_input_field,
    print_ast,
    type_from_ast,
)
from graphql.pyutils import did_you_mean, suggestion_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphql import GraphQLSchema

__all__ = ["literal_error", "variable_errors"]

_MISSING: Final = re.compile(r"Expected value of type '(\w+)' to include required field '(\w+)', found: .*", re.DOTALL)
_UNKNOWN: Final = re.compile(
    r"Expected value of type '(\w+)' not to include unknown field '(\w+)'(?:\. (Did you mean .*\?) Found|, found): .*",
    re.DOTALL,
)


def variable_errors(
    schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> list[GraphQLError]:
    """Return what is wrong with the variables of an operation, one error each."""
    errors: list[GraphQLError] = []
    for definition in operation.variable_definitions or ():
        name, type_ = definition.variable.name.value, type_from_ast(schema, definition.type)
        written = print_ast(definition.type)
        value, required = variables.get(name), isinstance(type_, GraphQLNonNull)
        if value is not None:
            found = [
                _got_invalid(f"{name}{path}", wrong, words, name) for path, wrong, words in _wrong(value, type_, "")
            ]
        elif required and name in variables:
            found = [f'Variable "${name}" of non-null type "{written}" must not be null.']
        elif required and definition.default_value is None:
            found = [f'Variable "${name}" of required type "{written}" was not provided.']
        else:
            found = []
        errors += [GraphQLError(message, definition) for message in found]
    return errors


def literal_error(schema: GraphQLSchema, error: GraphQLError) -> GraphQLError:
    """Return an error about a value that stands in the document itself in the server's words."""
    if found := _MISSING.fullmatch(error.message):
        parent, name = schema.get_type(found[1]), found[2]
        if isinstance(parent, GraphQLInputObjectType):
            words = f'Field "{parent.name}.{name}" of required type "{parent.fields[name].type}" was not provided.'
            return GraphQLError(words, error.nodes)
    if found := _UNKNOWN.fullmatch(error.message):
        guess = f" {found[3]}" if found[3] else ""
        return GraphQLError(f'Field "{found[2]}" is not defined by type "{found[1]}".{guess}', error.nodes)
    return error


def _got_invalid(place: str, value: Any, words: str, variable: str) -> str:
    where = "" if place == variable else f' at "{place}"'
    return f'Variable "${variable}" got invalid value {_shown(value)}{where}; {words}'


def _wrong(value: Any, type_: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    """Find what is wrong with a value: where, the value there, and words."""
    if isinstance(type_, GraphQLNonNull):
        if value is None:
            yield path, value, f'Expected non-nullable type "{type_}" not to be null.'
        else:
            yield from _wrong(value, type_.of_type, path)
    elif value is None:
        return
    elif isinstance(type_, GraphQLList):
        many = isinstance(value, list)
        for place, each in (
            [(f"{path}[{index}]", each) for index, each in enumerate(value)] if many else [(path, value)]
        ):
            yield from _wrong(each, type_.of_type, place)
    elif isinstance(type_, GraphQLInputObjectType):
        yield from _wrong_object(value, type_, path)
    elif is_leaf_type(type_):
        yield from _wrong_leaf(value, type_, path)


def _wrong_leaf(value: Any, type_: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    try:
        read = type_.parse_value(value)
    except GraphQLError as error:
        yield path, value, error.message
    else:
        if read is Undefined:
            yield path, value, f'Expected type "{type_}".'


def _wrong_object(value: Any, type_: GraphQLInputObjectType, path: str) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(value, dict):
        yield path, value, f'Expected type "{type_}" to be an object.'
        return
    for name, field in type_.fields.items():
        if name in value:
            yield from _wrong(value[name], field.type, f"{path}.{name}")
        elif is_required_input_field(field):
            yield path, value, f'Field "{name}" of required type "{field.type}" was not provided.'
    for name in [each for each in value if each not in type_.fields]:
        guess = did_you_mean(suggestion_list(name, list(type_.fields))).replace("'", '"')
        yield path, value, f'Field "{name}" is not defined by type "{type_}".{guess}'


def _shown(value: Any) -> str:
    """Write a value as JavaScript's developers see it."""
    match value:
        case dict():
            inside = ", ".join(f"{name}: {_shown(each)}" for name, each in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
