"""What the directives of this folder share: they write Markdown, which the page contains as if it stood there."""

from collections.abc import Iterable, Sequence

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class MarkdownDirective(SphinxDirective):
    """A directive whose content is made when the page is built."""

    def markdown(self) -> Iterable[str]:
        """Return the lines of the content.

        :raises ValueError: if the argument is invalid, with a sentence
        """
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        try:
            lines = list(self.markdown())
        except ValueError as error:
            raise self.error(str(error)) from error
        return self.parse_text_to_nodes('\n'.join(lines))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table. A column without any text is left out."""
    rows = [[*row] for row in rows]
    columns = [number for number in range(len(head)) if any(row[number] for row in rows)]
    lines = [[head[number] for number in columns], ['---'] * len(columns)]
    lines += [[row[number].replace('|', '\\|') for number in columns] for row in rows]
    return [f'| {" | ".join(cells)} |' for cells in lines]
