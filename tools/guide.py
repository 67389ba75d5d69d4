"""A hook of mkdocs: a link that leads out of docs/ leads to the repository in the guide.

As plain Markdown such a link is relative, and works in a clone and on the pages of the repository.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

LINK = re.compile(r'(?<=\]\()(\.\./[^)#\s]+)')


def on_page_markdown(markdown: str, page: object, config: dict, files: object) -> str:
    """The text of a page, whose links out of docs/ are addresses."""
    folder = PurePosixPath('docs', page.file.src_uri).parent

    def address(link: re.Match) -> str:
        place = normpath(folder / link[1])
        if place.startswith('docs/'):
            return link[1]
        if not (Path(config['config_file_path']).parent / place).exists():
            return link[1]  # which mkdocs then complains of
        return f'{config["repo_url"]}/blob/main/{place}'

    return LINK.sub(address, markdown)
