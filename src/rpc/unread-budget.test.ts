import { EventEmitter } from 'node:events';
import { expect, test } from '@jest/globals';
import { type Outlet, unreadBudget } from './unread-budget.ts';

class Waiting extends EventEmitter implements Outlet {
  readonly writableLength: number;
  constructor(writableLength: number) {
    super();
    this.writableLength = writableLength;
  }
}

test('over the budget those are cut who let the most wait, and no more than needed', async () => {
  const cut: number[] = [];
  const watch = unreadBudget(1_000, () => {});
  const outlets = [100, 900, 300, 600, 0].map((bytes) => new Waiting(bytes));
  for (const outlet of outlets) {
    watch(outlet, () => {
      cut.push(outlet.writableLength);
      outlet.emit('close');
    });
  }
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(cut).toEqual([900]);
});
