"""What is wrong with a page: by the rules of axe, and by its layout."""

from axe_playwright_python.sync_playwright import Axe

#: What Playwright's `emulate_media` takes.
PLAIN = {'color_scheme': 'light', 'forced_colors': 'none', 'reduced_motion': 'no-preference', 'media': 'screen'}

#: Of a window, in CSS pixels.
WIDE = {'width': 1280, 'height': 1024}


def violations(page, narrow, *exceptions, **media):
    """Return what axe finds in a page, by all of its rules with these exceptions, in a narrow and a wide window."""
    page.emulate_media(**PLAIN | media)
    axe = Axe()
    page.evaluate(axe.axe_script)
    rules = set(page.evaluate('axe.getRules().map(({ ruleId }) => ruleId)'))
    assert rules > set(exceptions)
    options = {'resultTypes': ['violations'], 'runOnly': {'type': 'rule', 'values': sorted(rules - set(exceptions))}}
    found = {}
    for size in (narrow, WIDE):
        page.set_viewport_size(size)
        for violation in axe.run(page, options=options).response['violations']:
            found[violation['id'], size['width']] = [node['html'][:300] for node in violation['nodes']]
    return found


def boxes_in_the_way(page):
    """Return the parts of bars that stick out of their bar, and the pairs of texts that lie on each other."""
    return page.evaluate("""() => {
        const sees = (box) => box.width > 1 && box.height > 1;
        const inside = (box, outer) => box.left >= outer.left - 1 && box.right <= outer.right + 1
            && box.top >= outer.top - 1 && box.bottom <= outer.bottom + 1;
        const meet = (box, other) => box.left < other.right - 1 && other.left < box.right - 1
            && box.top < other.bottom - 1 && other.top < box.bottom - 1;
        const found = [];
        for (const bar of document.querySelectorAll('pyramid-progress')) {
            const parts = [...bar.querySelectorAll('progress, button, span:not(.pp-line, .pp-live), a')]
                .map((part) => [part.className || part.localName, part.getBoundingClientRect()])
                .filter(([, box]) => sees(box));
            for (const [name, box] of parts) {
                if (!inside(box, bar.getBoundingClientRect())) found.push(`${bar.progressId}: ${name} sticks out`);
                for (const [other, its] of parts)
                    if (name < other && meet(box, its)) found.push(`${bar.progressId}: ${name} on ${other}`);
            }
            for (const node of [bar, ...bar.querySelectorAll('*:not(.pp-live)')])
                if (node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== 'inline')
                    found.push(`${bar.progressId}: ${node.className || node.localName} is cut off`);
        }
        return found;
    }""")


def scrolls_sideways(page):
    """Tell whether a page is wider than its window."""
    return page.evaluate('document.documentElement.scrollWidth > innerWidth')
