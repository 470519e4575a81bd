import { openClinic } from '../clinic.ts';
import type { Stage } from '../drill.ts';
import { openPremises, type Premises } from './premises.ts';

/** Premises whose instances are processes started from the stage's sources, on a clinic of their own. */
export async function drillPremises(stage: Stage): Promise<Premises> {
  const clinic = await openClinic(stage);
  try {
    const premises = await openPremises({
      clinic,
      databaseUrl: stage.postgres.url(clinic.database),
      async start(databaseUrl) {
        const service = await clinic.start({ DATABASE_URL: databaseUrl });
        const kill = async () => {
          service.kill('SIGKILL');
          await service.ended;
        };
        return { ...service, kill };
      },
    });
    const close = async () => {
      await premises.close();
      await clinic.close();
    };
    return { ...premises, close };
  } catch (error) {
    await clinic.close();
    throw error;
  }
}
