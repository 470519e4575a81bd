import { type DescMethod, getOption } from '@bufbuild/protobuf';
import type { Interceptor } from '@connectrpc/connect';
import { access, RoleSchema } from '../../gen/amrutam/access/v1/access_pb.ts';
import { Fault } from '../fault.ts';
import { type Call, type Caller, callOfRequest, kCaller } from './call.ts';
import type { CallLog } from './log.ts';

/** What authorize needs to know. */
export interface AuthorizeOptions {
  /** Full names of services that aren't ours, so carry no rule, and are for everybody: health, reflection. */
  readonly publicServices: readonly string[];
  readonly log: CallLog;
  /** Told when somebody who is signed in is denied, before they are. */
  readonly denied?: (call: Call, denial: Fault) => Promise<void>;
}

/** Lets a caller through, or throws. */
type Check = (caller: Caller | undefined) => void;

/** Applies each method's own `amrutam.access.v1.access`. A method without a rule, or with an unclear one, is refused to all. */
export function authorize(options: AuthorizeOptions): Interceptor {
  const checks = new Map<DescMethod, Check>();
  const checkOf = (method: DescMethod) => {
    const check = checks.get(method) ?? ruleOf(method, options);
    checks.set(method, check);
    return check;
  };
  const deny = async (req: Parameters<typeof callOfRequest>[0], denial: unknown): Promise<never> => {
    if (req.contextValues.get(kCaller) && denial instanceof Fault) await options.denied?.(callOfRequest(req), denial);
    throw denial;
  };
  return (next) => (req) => {
    try {
      checkOf(req.method)(req.contextValues.get(kCaller));
    } catch (denial) {
      return deny(req, denial);
    }
    return next(req);
  };
}

function ruleOf(method: DescMethod, { publicServices, log }: AuthorizeOptions): Check {
  if (publicServices.includes(method.parent.typeName)) return () => {};
  const rule = getOption(method, access);
  const roles = rule.roles.map((role) => RoleSchema.value[role]?.name ?? '');
  if (Number(rule.public) + Number(rule.signedIn) + Number(roles.length > 0) !== 1) {
    log.error({ method: `${method.parent.typeName}/${method.name}` }, 'no clear access rule: refused to everybody');
    return () => {
      throw new Fault('ROLE_REQUIRED', 'nobody may call this method');
    };
  }
  if (rule.public) return () => {};
  return roles.length > 0 ? oneOf(roles) : signedIn;
}

function signedIn(caller: Caller | undefined): asserts caller {
  if (!caller) throw new Fault('TOKEN_INVALID', 'an access token is needed');
}

function oneOf(roles: readonly string[]): Check {
  const metadata = { roles: roles.join(',') };
  return (caller) => {
    signedIn(caller);
    if (!roles.includes(`ROLE_${caller.role}`)) {
      throw new Fault('ROLE_REQUIRED', 'the method is for other roles', { metadata });
    }
  };
}
