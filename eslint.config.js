import js from '@eslint/js';
import globals from 'globals';

export default [
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
    },
  },
  { files: ['static/*.js'], languageOptions: { globals: globals.browser } },
  { files: ['tests/js/*.mjs'], languageOptions: { globals: globals.node } },
];
