import { listeners } from './listeners.fixture.ts';

/** A process with the three listeners: prints their ports as JSON, and lives until its standard input ends. */
const { grpc, http, https, log } = await listeners(
  { availability: { getSlot: () => ({ slot: { id: 'here' } }) } },
  { limits: { bodyMs: 500 } },
);
console.log(JSON.stringify({ grpc, http, https }));
process.stdin.resume().on('end', () => {
  const errors = log.filter(({ level }) => level === 'error');
  console.log(JSON.stringify(errors.map(({ msg, err }) => `${msg} ${err}`)));
  process.exit(0);
});
