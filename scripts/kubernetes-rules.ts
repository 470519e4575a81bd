import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';

// npm run kubernetes-rules: the alert rules of deploy/prometheus as the Prometheus operator wants them, after a change there.

const { groups } = parse(readFileSync('deploy/prometheus/alerts.yml', 'utf8')) as { groups: unknown };
const rule = {
  apiVersion: 'monitoring.coreos.com/v1',
  kind: 'PrometheusRule',
  metadata: { name: 'amrutam' },
  spec: { groups },
};
const head = '# Made from deploy/prometheus/alerts.yml by npm run kubernetes-rules.\n';
writeFileSync('deploy/kubernetes/monitoring/prometheus-rule.yaml', head + stringify(rule, { lineWidth: 0 }));
