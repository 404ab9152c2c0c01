/** Maps that are replaced and never changed: whoever holds one sees it stay as it was. */

export function keyed<Value>(pairs: Iterable<readonly [string, Value]> = []): ReadonlyMap<string, Value> {
  return new Map(pairs);
}

export function put<Value>(map: ReadonlyMap<string, Value>, key: string, value: Value): ReadonlyMap<string, Value> {
  return new Map([...map, [key, value]]);
}

export function without<Value>(map: ReadonlyMap<string, Value>, key: string): ReadonlyMap<string, Value> {
  return new Map([...map].filter(([one]) => one !== key));
}

/** The address's filters with one of them set, or taken away by an empty value. */
export function filtered(query: string, name: string, value: string): string {
  const asked = new URLSearchParams(query);
  if (value === "") asked.delete(name);
  else asked.set(name, value);
  return asked.size > 0 ? `?${asked}` : "";
}
