/**
 * Calls `play` with every number from 0 to `count` - 1, each lane with one after the other. The first failure ends all lanes
 * once they have come to the end of what they are at, and is thrown.
 */
export async function inLanes<Lane>(
  lanes: readonly Lane[],
  count: number,
  play: (lane: Lane, number: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const run = async (lane: Lane) => {
    try {
      while (next < count) await play(lane, next++);
    } catch (error) {
      next = count;
      throw error;
    }
  };
  const ends = await Promise.allSettled(lanes.map(run));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
}
