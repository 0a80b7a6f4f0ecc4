import { assertEgress, type Egress, type EgressRule, parsePorts } from '../../config/egress.js';
import { quote } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';

const RULE = "is neither 'none', 'internet' nor a rule such as allow=10.0.0.0/8,tcp,443,8000-8999";
const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'icmp'];

/**
 * What the options `--egress` say together; undefined without any.
 * @throws SmartVMError INVALID_OPTION
 */
export function egressOf(texts: readonly string[] | undefined): Egress | undefined {
  const [first, ...others] = texts ?? [];
  if (texts === undefined || first === undefined) {
    return undefined;
  }
  if (first === 'none' || first === 'internet') {
    if (others.length > 0) {
      throw new SmartVMError(
        'INVALID_OPTION',
        `--egress: '${first}' is said alone; in rules, it is ${first === 'none' ? 'deny=any' : 'allow=internet'}`,
      );
    }
    return first;
  }
  const rules = texts.map(ruleOf);
  assertEgress(rules);
  return rules;
}

function ruleOf(text: string): EgressRule {
  const [, action, rest = ''] = /^(allow|deny)=(.+)$/.exec(text) ?? [];
  const [to, ...words] = rest.split(',');
  const protocols = words.filter((word) => PROTOCOLS.includes(word));
  const ports = words.filter((word) => !PROTOCOLS.includes(word));
  if (action === undefined || protocols.length > 1 || !ports.every(parsePorts)) {
    throw new SmartVMError('INVALID_OPTION', `--egress: ${quote(text)} ${RULE}`);
  }
  return {
    action: action as EgressRule['action'],
    to,
    ...(ports.length > 0 ? { ports } : {}),
    ...(protocols.length > 0 ? { protocol: protocols[0] as NonNullable<EgressRule['protocol']> } : {}),
  };
}

/** In the words of the option: the rules of one policy, one after the other. */
export function egressInWords(egress: Egress): string {
  if (typeof egress === 'string') {
    return egress;
  }
  const rules = egress.map(({ action, to, protocol, ports = [] }) => {
    const target = to ?? (action === 'allow' ? 'internet' : 'any');
    return `${action}=${[target, ...(protocol ? [protocol] : []), ...ports].join(',')}`;
  });
  return rules.join(' ') || 'none';
}
