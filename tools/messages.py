"""Writes docs/messages.md: every message of the library, as its code has it, and what to do.

A test compares the page with what this makes; `make reference` writes it again. It needs a Django
that is set up: the tests' own.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reference import ROOT, table

from tom_auto.errors import SyncError, advice_for
from tom_auto.management.run_command import wrong

PLACE = ROOT / 'docs' / 'messages.md'
LIBRARY = ROOT / 'tom_auto'
#: Not part of a working TOM: the simulated observatory, and the migrations.
OTHERS = {'simulator', 'migrations'}
GAP = '…'
HEAD = """\
# Messages

Every message of tom-auto, as its code has it. `…` stands for what differs from one time to the next.
This page is made by `make reference`. A test fails when it is out of date.
"""


class Message(NamedTuple):
    """What is said, by what kind of call: an error's class, a check of `doctor`, a page's message."""

    text: str
    by: object
    fix: str = ''


def page() -> str:
    """The whole page."""
    said = all_messages()
    failures = [one for one in said if isinstance(one.by, type) and issubclass(one.by, SyncError)]
    doctor, pages = ([one for one in said if one.by == where] for where in ('doctor', 'page'))
    others = [one for one in said if one not in {*failures, *doctor, *pages}]
    parts = (
        HEAD,
        '## Failures of a run\n',
        'In the summary of a command, on `/automation/` and in mails.\n',
        *table(
            ['message', 'kind', 'what to do'],
            ((one.text, one.by.kind, advice_for(one.by.kind, applied='')) for one in failures),
        ),
        '## What commands refuse, or could not do\n',
        'Each says what to do.\n',
        *table(['message'], ((one.text,) for one in others)),
        '## What `manage.py doctor` finds\n',
        *table(['message', 'what to do'], ((one.text, one.fix) for one in doctor)),
        '## What pages say\n',
        *table(['message'], ((one.text,) for one in pages)),
    )
    return '\n'.join(parts)


def all_messages() -> list[Message]:
    """Every message, once, in the order of the alphabet."""
    found = set()
    for file in LIBRARY.rglob('*.py'):
        parts = file.relative_to(ROOT).with_suffix('').parts
        if not OTHERS & set(parts) and parts[-1] != '__main__':
            found |= set(_of_module(file, '.'.join(parts).removesuffix('.__init__')))
    return sorted(found, key=lambda message: message.text.lstrip(f'"{GAP} ').lower())


def _of_module(file: Path, name: str) -> Iterator[Message]:
    names = vars(importlib.import_module(name))
    tree = ast.parse(file.read_text(encoding='utf-8'))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        texts = _Texts(names, function)
        for node in ast.walk(function):
            for message in _of_node(node, names, texts):
                if re.search(r'\w{3}', message.text):
                    yield message


def _of_node(node: ast.AST, names: dict, texts: '_Texts') -> Iterator[Message]:
    """The messages that this part of the code makes."""
    if isinstance(node, ast.Call) and node.args:
        by = texts.value(node.func)
        is_error = isinstance(by, type) and issubclass(by, Exception)
        if by is wrong or is_error and by.__module__ != 'builtins':
            yield from (Message(text, by) for text in texts.of(node.args[0]))
        elif ast.unparse(node.func).startswith('messages.'):
            yield from (Message(text, 'page') for text in texts.of(node.args[1]))
    elif names['__package__'] == 'tom_auto.doctor' and _is_a_finding(node):
        fix = ' / '.join(texts.of(node.elts[2]))
        yield from (Message(text, 'doctor', fix) for text in texts.of(node.elts[1]))


def _is_a_finding(node: ast.AST) -> bool:
    """Whether it is what a check of `doctor` gives where something is wrong."""
    is_one = isinstance(node, ast.Tuple) and len(node.elts) == 3
    return is_one and ast.unparse(node.elts[0]) in ('FAILED', 'WARNING')


class _Texts:
    """The texts that an expression may have, in one function."""

    def __init__(self, names: dict, function: ast.FunctionDef) -> None:
        self._names = names
        self._assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._assigned.setdefault(node.targets[0].id, []).append(node.value)

    def value(self, node: ast.expr) -> object:
        """What a name of the module stands for, or None."""
        if isinstance(node, ast.Attribute):
            return getattr(self.value(node.value), node.attr, None)
        return self._names.get(node.id) if isinstance(node, ast.Name) else None

    def of(self, node: ast.expr, depth: int = 0) -> list[str]:
        """The texts of `node`; where nobody can tell from the code, what differs."""
        return [' '.join(text.split()) for text in self._of(node, depth)] if depth < 4 else [GAP]

    def _of(self, node: ast.expr, depth: int) -> list[str]:
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else [GAP]
        if isinstance(node, ast.JoinedStr):
            return [''.join(self._part(part) for part in node.values)]
        if isinstance(node, ast.IfExp):
            return self._of(node.body, depth) + self._of(node.orelse, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._of(node.left, depth), self._of(node.right, depth)
            return [one + other for one in left for other in right]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('.format'):
            return [re.sub(r'{[^{}]*}', GAP, text) for text in self._of(node.func.value, depth)]
        if isinstance(node, ast.Name) and node.id in self._assigned:
            return [text for one in self._assigned[node.id] for text in self.of(one, depth + 1)]
        return [self._constant(node)]

    def _part(self, part: ast.expr) -> str:
        return part.value if isinstance(part, ast.Constant) else self._constant(part.value)

    def _constant(self, node: ast.expr) -> str:
        is_one = ast.unparse(node).rpartition('.')[2].isupper()
        value = self.value(node) if is_one else None
        return value if isinstance(value, str) else GAP


if __name__ == '__main__':
    PLACE.write_text(page(), encoding='utf-8')
