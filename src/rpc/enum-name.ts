import type { DescEnum } from '@bufbuild/protobuf';

/** The name of an enum's value without its prefix, such as `OPEN`; undefined for the unspecified one and for unknown numbers. */
export function enumName<Name extends string>(schema: DescEnum, value: number): Name | undefined {
  return value === 0 ? undefined : (schema.value[value]?.localName as Name | undefined);
}

/** The names of several values. */
export function enumNames<Name extends string>(schema: DescEnum, values: readonly number[]): Name[] {
  return values.map((value) => enumName<Name>(schema, value)).filter((name) => name !== undefined);
}
