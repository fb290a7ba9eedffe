/**
 * Writes what is published beside the modules: the types of each (`*.d.ts`), and the custom-elements manifest. With the
 * argument `--check` it only reports what is not current. It also checks the types of the modules themselves.
 */

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { format, resolveConfig } from 'prettier';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STATIC = join(ROOT, 'static');
const TYPES = 'types.d.ts';

const read = (name) => readFileSync(join(STATIC, name), 'utf-8');

/** The types of the modules by file name. The compiler works elsewhere, because it prefers existing types to modules. */
function declarations() {
  const directory = mkdtempSync(join(tmpdir(), 'types-'));
  try {
    const modules = readdirSync(STATIC).filter((name) => name.endsWith('.js'));
    for (const name of [...modules, TYPES]) copyFileSync(join(STATIC, name), join(directory, name));
    const config = { extends: join(ROOT, 'tsconfig.json'), include: ['*.js', TYPES] };
    config.compilerOptions = {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      rootDir: '.',
      outDir: 'out',
    };
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config));
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', directory], { stdio: 'inherit' });
    const written = modules.map((name) => name.replace('.js', '.d.ts'));
    return Object.fromEntries(written.map((name) => [name, readFileSync(join(directory, 'out', name), 'utf-8')]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The members of an interface in types.d.ts: `{ name, type, description, default }`. */
function members(name) {
  const [, body] = read(TYPES).match(RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, 'ms'));
  const found = body.matchAll(/\/\*\*(.*?)\*\/\s*(readonly )?'?([\w:-]+)'?(?:\?|\(\))?: ([^;]+);/gs);
  return Array.from(found, ([, comment, readonly, name, type]) => {
    const [description, ...others] = comment
      .replace(/^\s*\* ?/gm, '')
      .trim()
      .split(/\n@default /);
    const member = { name, type: typeOf(type), description: description.trim().replace(/\s+/g, ' ') };
    if (others.length) member.default = others[0].trim();
    if (readonly) member.readonly = true;
    return member;
  });
}

function typeOf(text) {
  const references = Array.from(text.matchAll(/\bStat(?:e|us)\b/g), ({ 0: name, index }) => ({
    name,
    module: TYPES,
    start: index,
    end: index + name.length,
  }));
  return references.length ? { text, references } : { text };
}

/** https://github.com/webcomponents/custom-elements-manifest, version 1.0.0 */
function manifest() {
  const attributes = members('Attributes').map((attribute) => ({
    ...attribute,
    fieldName: attribute.name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase()),
  }));
  const fields = attributes.map(({ name, fieldName, type, description }) => {
    return { kind: 'field', name: fieldName, type, description, attribute: name, reflects: true };
  });
  const others = members('Members').map(({ name, type, ...rest }) =>
    type.text === 'void' ? { kind: 'method', name, return: { type }, ...rest } : { kind: 'field', name, type, ...rest },
  );
  const style = read('progress.css');
  const cssProperties = members('Style').map(({ name, description }) => {
    return { name, description, default: style.match(RegExp(`${name}: (.+);`))[1] };
  });
  const declaration = { name: 'PyramidProgressElement', module: 'progress.js' };
  const element = {
    kind: 'class',
    customElement: true,
    name: declaration.name,
    tagName: 'pyramid-progress',
    superclass: { name: 'HTMLElement' },
    description: 'Shows the progress of a task, and follows it by polling, or by a stream.',
    attributes: [...attributes, ...members('WrittenAttributes')],
    members: [...fields, ...others],
    events: members('Events'),
    cssProperties,
  };
  const exports = [
    { kind: 'js', name: declaration.name, declaration },
    { kind: 'custom-element-definition', name: element.tagName, declaration },
  ];
  const modules = [{ kind: 'javascript-module', path: 'progress.js', declarations: [element], exports }];
  return JSON.stringify({ schemaVersion: '1.0.0', modules });
}

const published = { ...declarations(), 'custom-elements.json': manifest() };
for (const [name, text] of Object.entries(published)) {
  const filepath = join(STATIC, name);
  const formatted = await format(text, { ...(await resolveConfig(filepath)), filepath });
  if (existsSync(filepath) && read(name) === formatted) continue;
  if (process.argv.includes('--check')) {
    console.error(`static/${name} is not current: run \`npm run generate\``);
    process.exitCode = 1;
  } else {
    writeFileSync(filepath, formatted);
  }
}
