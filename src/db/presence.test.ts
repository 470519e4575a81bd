import { expect, test } from '@jest/globals';
import { createPresence } from './presence.ts';

/** A database that answers when it is told to. */
function asked() {
  const questions: PromiseWithResolvers<void>[] = [];
  const presence = createPresence(() => {
    const question = Promise.withResolvers<void>();
    questions.push(question);
    return question.promise;
  });
  return { presence, questions };
}

test('while nothing is known against it, nobody asks', async () => {
  const { presence, questions } = asked();
  await presence.check();
  expect(questions).toHaveLength(0);
});

test('in doubt a crowd waits for one question, and all go on when it is answered', async () => {
  const { presence, questions } = asked();
  presence.doubt();
  const crowd = Promise.all(Array.from({ length: 100 }, () => presence.check()));
  expect(questions).toHaveLength(1);
  questions[0]?.resolve();
  await crowd;
  await presence.check();
  expect(questions).toHaveLength(1);
});

test('while it is away everybody is refused at once with the reason, and it is asked again meanwhile', async () => {
  const { presence, questions } = asked();
  presence.doubt();
  const first = presence.check();
  const away = new Error('nobody there');
  questions[0]?.reject(away);
  await expect(first).rejects.toBe(away);
  await expect(presence.check()).rejects.toBe(away);
  await new Promise((resolve) => setTimeout(resolve, 150));
  await expect(presence.check()).rejects.toBe(away);
  expect(questions).toHaveLength(2);
  questions[1]?.resolve();
  await new Promise((resolve) => setTimeout(resolve, 0));
  await presence.check();
});
