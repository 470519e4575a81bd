import type { Service } from '../test/support/process-service.ts';

/** The sum of a series over instances, as their metrics ports tell it; one that isn't there counts nothing. */
export async function scrapedSum(services: readonly Service[], series: string): Promise<number> {
  const values = await Promise.all(services.map((service) => scraped(service, series)));
  return values.reduce((sum, value) => sum + value, 0);
}

async function scraped({ metricsPort }: Service, series: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const found = text.split('\n').find((one) => one.startsWith(`${series} `));
  return Number(found?.split(' ').at(-1) ?? 0);
}
