import { ERROR_CODES } from '../ts/errors.js';

/** docs/errors.md: the table of error codes in print. */
export function renderErrorTable(): string {
  const rows = Object.entries(ERROR_CODES).map(
    ([code, meaning]) => `| \`${code}\` | ${meaning.replaceAll('|', '\\|')} |`,
  );
  return `# Errors

Every failure is a \`SmartVMError\` with a \`code\` from this table. Tell errors apart by \`code\`, never by \`message\`: messages
may change, codes stay. \`cause\` has the error underneath where there is one, \`details\` facts that a program can use.

\`\`\`ts
import { SmartVM, SmartVMError } from 'smartvm';

try {
  await using vm = await new SmartVM().launch({ image: 'debian' });
} catch (error) {
  if (error instanceof SmartVMError && error.code === 'VMM_NOT_FOUND') {
    console.error(error.message); // says what to install
  }
}
\`\`\`

| Code | Meaning, and what to do |
| --- | --- |
${rows.join('\n')}

This file is written by \`npm run docs\` from the table in \`ts/errors.ts\`.
`;
}
