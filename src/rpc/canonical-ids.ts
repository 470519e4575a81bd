import { type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import type { Interceptor } from '@connectrpc/connect';

/** Where ids stand in a message: names of its own fields, and of fields that hold messages with ids. */
interface Places {
  readonly ids: readonly string[];
  readonly inside: readonly (readonly [name: string, places: Places])[];
}

const known = new Map<DescMessage, Places>();

/**
 * Writes the ids of requests in lower case, as PostgreSQL answers them: a UUID in capitals is the same id, for comparisons,
 * fingerprints and page tokens too.
 */
export function canonicalIds(): Interceptor {
  return (next) => (req) => {
    if (!req.stream) lowerIds(req.message, placesIn(req.method.input));
    return next(req);
  };
}

function lowerIds(message: Message, { ids, inside }: Places): void {
  const fields = message as unknown as Record<string, unknown>;
  for (const name of ids) fields[name] = String(fields[name]).toLowerCase();
  for (const [name, places] of inside) if (fields[name]) lowerIds(fields[name] as Message, places);
}

function placesIn(desc: DescMessage): Places {
  const found = known.get(desc) ?? {
    ids: desc.fields.filter(isId).map(({ localName }) => localName),
    inside: desc.fields.flatMap((field) => {
      const places = field.fieldKind === 'message' && ownMessage(field.message) ? placesIn(field.message) : undefined;
      return places && (places.ids.length || places.inside.length) ? [[field.localName, places] as const] : [];
    }),
  };
  known.set(desc, found);
  return found;
}

function isId(field: DescField): boolean {
  return field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING && /(^|_)id$/.test(field.name);
}

function ownMessage({ typeName }: DescMessage): boolean {
  return typeName.startsWith('amrutam.');
}
