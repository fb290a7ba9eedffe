// Runs first in each page that WebKit shows in a test: it keeps the page's errors, finds elements as Playwright does, and
// has timers that a test can advance.
window.driver ??= (() => {
    const errors = [];
    addEventListener('error', ({ message }) => message && errors.push(message));
    addEventListener('unhandledrejection', ({ reason }) => errors.push(String(reason)));
    addEventListener('securitypolicyviolation', ({ violatedDirective }) => errors.push(violatedDirective));
    console.error = (...args) => errors.push(args.join(' '));

    const timers = new Map();
    const { setTimeout, clearTimeout } = window;
    window.setTimeout = (work, delay = 0, ...args) => {
        const run = () => (timers.delete(id), work(...args));
        const id = setTimeout(run, delay);
        timers.set(id, { run, due: performance.now() + delay });
        return id;
    };
    const advance = (time) => {
        for (const [id, { run, due }] of [...timers])
            if (due <= performance.now() + time) {
                clearTimeout(id);
                run();
            }
    };

    const ROLES = {
        button: 'button',
        link: 'a[href]',
        progressbar: 'progress',
        status: '[role=status]',
    };
    const isVisible = (node) => {
        const { width, height } = node.getBoundingClientRect();
        return node.checkVisibility({ visibilityProperty: true }) && width > 0 && height > 0;
    };
    const withShadows = (scope) => [scope, scope, ...scope.querySelectorAll('*')].flatMap((node, index) =>
        index === 0 ? [scope] : node.shadowRoot ? withShadows(node.shadowRoot) : []);
    const inside = (scopes, selector) => [
        ...new Set(scopes.flatMap(withShadows).flatMap((root) => [...root.querySelectorAll(selector)])),
    ];
    const has = (text, wanted, isExact) => {
        const found = text.replace(/\s+/g, ' ').trim();
        return isExact ? found === wanted : found.toLowerCase().includes(wanted.toLowerCase());
    };
    const STEPS = {
        css: inside,
        role: (scopes, role, name, isExact) => inside(scopes, ROLES[role]).filter((node) =>
            isVisible(node) && (name === null || has(node.ariaLabel ?? node.textContent, name, isExact))),
        text: (scopes, text, isExact) => {
            const found = [...scopes, ...inside(scopes, ':not(head *)')]
                .filter((node) => has(node.textContent ?? '', text, isExact));
            return found.filter((node) => !found.some((other) => other !== node && node.contains(other)));
        },
        label: (scopes, text) => inside(scopes, 'input').filter(({ labels }) =>
            [...labels].some((label) => has(label.textContent, text))),
        hasText: (scopes, text) => scopes.filter((node) => has(node.textContent, text)),
        nth: (scopes, index) => [scopes.at(index)].filter(Boolean),
    };
    const find = (steps) => steps.reduce((found, [kind, ...args]) => STEPS[kind](found, ...args), [document]);

    const evaluate = (given, arg, isCondition) => {
        const value = typeof given === 'function' ? given(arg) : given;
        if (!isCondition) return value;
        return value instanceof Promise ? value.then(Boolean) : Boolean(value);
    };
    return { errors, advance, isVisible, find, evaluate };
})();
