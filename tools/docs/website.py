"""Hooks of the documentation site; mkdocs.yml loads this file.

The site has the pages of `docs/`, and some files of the repository's root. Their links are written for the repository.
For the site each link is rewritten: to the page in the site, or to the file on GitHub if the site does not have it.

GitHub and mkdocs parse Markdown differently, lists above all. A page that would differ between them is reported.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from markdown_it import MarkdownIt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FROM_ROOT = {  # page in the site: file in the repository
    "index.md": "README.md",
    "contents.md": "docs/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "code-of-conduct.md": "CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
}
BLOCKS = ("li", "ul", "ol", "table", "tr", "pre", "blockquote", "h1", "h2", "h3", "h4")
GITHUB = MarkdownIt("commonmark").enable("table")
log = logging.getLogger("mkdocs.hooks.website")  # mkdocs counts its warnings; with --strict they fail the build
# A fenced block is matched first, so that nothing in it counts as a link.
LINK = re.compile(r"^```.*?^```$|(?<=\]\()(?![a-z]+:)([^)#\s]+)(?=[)#])", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the root. `docs/README.md`, which mkdocs takes for the start page, becomes a page of its own."""
    files.remove(files.src_uris["README.md"])
    for page, file in FROM_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page. Pages of the top level have no neighbours to navigate to."""
    here = page.file.src_uri
    if here in ("index.md", "install.md", "tutorial.md"):
        page.meta["hide"] = ["navigation"]

    def rewrite(match: re.Match[str]) -> str:
        return in_site(match[1], here, config.repo_url or "") if match[1] else match[0]

    return LINK.sub(rewrite, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Warn of a page with other lists, tables, headings or blocks than GitHub shows."""
    on_github = GITHUB.render(page.markdown or "")
    for tag in BLOCKS:
        here, there = (len(re.findall(f"<{tag}[ >]", text)) for text in (html, on_github))
        if here != there:
            log.warning("%s: %d elements <%s> in the site, %d on GitHub", page.file.src_uri, here, tag, there)


def in_site(target: str, page: str, repository: str) -> str:
    """Return the link for the site. A target that does not exist is returned as it is; mkdocs then reports it."""
    file = FROM_ROOT.get(page, f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
    if not (ROOT / path).exists():
        return target
    pages = {file: page for page, file in FROM_ROOT.items()}
    if path in pages or path.startswith("docs/"):
        return posixpath.relpath(pages.get(path, path.removeprefix("docs/")), posixpath.dirname(page) or ".")
    return f"{repository}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"
