/** What stands in the place of a secret. */
const REDACTED = '***';

/** Words in the name of a setting by which its value is taken for a secret. */
const SECRET_WORDS =
  'passw(?:or)?d|passphrase|passwd|secret|token|credential|signature|authorization|cookie|(?:api|access|auth|account|client|encryption|host|private|session|shared|signing|ssh)[_.-]?key';
const SECRET_NAME = new RegExp(SECRET_WORDS, 'i');

/**
 * A setting of such a name and its value: `name=value`, `name: value`, `"name": "value"`. Every part is bounded, since a guest writes
 * much of what this is looked for in, and may write what takes longest to look through.
 */
const SECRET_SETTING = new RegExp(
  `((?:${SECRET_WORDS})[\\w.-]{0,64}["']?[ \\t]{0,4}[=:][ \\t]{0,4})("[^"\\n]{0,4096}"|'[^'\\n]{0,4096}'|(?:(?:Basic|Bearer) +)?\\S+)`,
  'gi',
);

/** Secrets that are known by their form, wherever they are. */
const FORMS: readonly [form: RegExp, shown: string][] = [
  // PEM (RFC 7468), and the end of one whose beginning is lost.
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g, REDACTED],
  [/(?:^[A-Za-z0-9+/=]{1,80}\r?\n){0,60}-----END [A-Z ]{0,40}PRIVATE KEY-----/gm, REDACTED],
  // User and password, and the query, of a URL.
  [/:\/\/[^\s/"'<>]{0,1024}@/g, `://${REDACTED}@`],
  [/(:\/\/[^\s?"'<>]{0,1024}\?)[^\s"'<>]+/g, `$1${REDACTED}`],
  // A JSON Web Token (RFC 7519); tokens of GitHub; access keys of AWS.
  [/(?<![\w-])eyJ[\w-]{10,2048}\.[\w-]{10,8192}\.[\w-]{0,2048}/g, REDACTED],
  [/\b(?:gh[opsru]_|github_pat_)\w{20,255}/g, REDACTED],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, REDACTED],
  [/\b(Bearer|Basic) +[\w.~+/=-]{8,8192}/g, `$1 ${REDACTED}`],
];

/** A shorter one would be found in the middle of other words. */
const MIN_KNOWN_CHARACTERS = 6;
/** More are not looked for: a VMM that was taken over may answer nothing but what looks like them. */
const MAX_KNOWN = 256;
/** Deeper than anything that is shown. */
const MAX_DEPTH = 64;

/**
 * Takes secrets out of what is shown to others: those that it has learned, what stands behind a telling name, and what has the form
 * of one. Too much is taken out rather than too little. What has neither name nor form is not found.
 */
export class Redactor {
  readonly #known = new Set<string>();
  #longestFirst: readonly string[] | undefined;

  /** Learns a secret, to find it also where no name stands beside it. Of several lines, each. */
  learn(secret: string): void {
    for (const line of [secret, ...secret.split(/\r?\n/)]) {
      const isOne = line.trim().length >= MIN_KNOWN_CHARACTERS && !line.startsWith('-----');
      if (isOne && this.#known.size < MAX_KNOWN) {
        this.#known.add(line.trim());
        this.#longestFirst = undefined;
      }
    }
  }

  /** Learns what {@link value} would take out for its name. */
  learnFrom(value: unknown, depth = 0): void {
    if (depth > MAX_DEPTH) {
      return; // nor is it shown
    }
    if (typeof value === 'string') {
      for (const [, , secret = ''] of value.matchAll(SECRET_SETTING)) {
        this.learn(secret.replace(/^["']|["']$/g, ''));
      }
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, each] of Object.entries(value)) {
        SECRET_NAME.test(name) && typeof each === 'string' ? this.learn(each) : this.learnFrom(each, depth + 1);
      }
    }
  }

  text(text: string): string {
    this.#longestFirst ??= [...this.#known].sort((a, b) => b.length - a.length);
    const unknown = this.#longestFirst.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text);
    const shapeless = FORMS.reduce((rest, [form, shown]) => rest.replace(form, shown), unknown);
    return shapeless.replace(SECRET_SETTING, `$1${REDACTED}`);
  }

  /** A copy of a value as JSON has it; what the metadata service or an environment holds is left out whatever its name. */
  value(value: unknown, depth = 0): unknown {
    if (depth > MAX_DEPTH) {
      return REDACTED;
    }
    if (typeof value === 'string') {
      return this.text(value);
    }
    if (Array.isArray(value)) {
      return value.map((each) => this.value(each, depth + 1));
    }
    if (typeof value === 'object' && value !== null) {
      const fields = Object.entries(value).map(([name, each]) => [this.text(name), this.#field(name, each, depth + 1)]);
      return Object.fromEntries(fields);
    }
    return value;
  }

  #field(name: string, value: unknown, depth: number): unknown {
    const isSecret = SECRET_NAME.test(name) || /^(?:env|environment|mmds|contents)$/i.test(name);
    if (!isSecret || value === null || typeof value === 'boolean') {
      return this.value(value, depth);
    }
    return /^mmds$/i.test(name) && typeof value === 'object' ? this.#withoutContents(value, depth) : REDACTED;
  }

  /** Of the metadata service, how it is reached. */
  #withoutContents(mmds: object, depth: number): unknown {
    const shown = ['version', 'networkInterfaces', 'ipv4Address', 'imdsCompat'];
    return this.value(Object.fromEntries(Object.entries(mmds).filter(([name]) => shown.includes(name))), depth);
  }
}
