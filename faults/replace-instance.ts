import type { Service } from '../test/support/process-service.ts';
import type { Clinic } from './clinic.ts';

/** Stops an instance by SIGTERM. Throws with its output unless it ends well. */
export async function stopInstance({ kill, ended }: Service): Promise<void> {
  kill('SIGTERM');
  const { code, output } = await ended;
  if (code !== 0) throw new Error(`an instance ended with ${code}:\n${output.slice(-2_000)}`);
}

/** Starts another instance on the ports of one that is gone. */
export function startInItsPlace(
  clinic: Clinic,
  { grpcPort, httpPort }: Service,
  settings: Readonly<Record<string, string>>,
): Promise<Service> {
  return clinic.start({ ...settings, GRPC_PORT: `${grpcPort}`, HTTP_PORT: `${httpPort}` });
}
