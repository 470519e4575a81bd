import { createPrivateKey } from 'node:crypto';
import type { TlsPair } from './listener.ts';

/** A certificate for localhost and 127.0.0.1 that nobody trusts; for tests. Valid until 2126. */
export const CERTIFICATE: TlsPair = {
  cert: `-----BEGIN CERTIFICATE-----\n${[
    'MIIBnDCCAUGgAwIBAgIUSG21rF9kwTQXbF56i0xtPiGOCjAwCgYIKoZIzj0EAwIw',
    'FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE1MzkyM1oYDzIxMjYxMDMw',
    'MTUzOTIzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO',
    'PQMBBwNCAARoeeHQQBjMTrex5ikIJPqMTpR/37tnPd3szxkdbnCL31bOhgiQ/jgy',
    'Zta3DbCsNx1dpuxTZdn745djnnaqlJa4o28wbTAdBgNVHQ4EFgQU+lpNV9say4TD',
    '7MTvrtD0I7pOFvYwHwYDVR0jBBgwFoAU+lpNV9say4TD7MTvrtD0I7pOFvYwDwYD',
    'VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI',
    'zj0EAwIDSQAwRgIhAK9hRpuB+Ihp3QN3A1NHljQCLeqPGp6cwocPiBgC6zUSAiEA',
    'kCOaX/HbrAgme4SyShFfRmbvUSc7mwAlzF3gVTLyrRQ=',
  ].join('\n')}\n-----END CERTIFICATE-----\n`,
  key: createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: 'P-256',
      d: 'FXqLai6H9rf9PCBqiCJkjhkKCWVwRU6PWIjqIY7ewNA',
      x: 'aHnh0EAYzE63seYpCCT6jE6Uf9-7Zz3d7M8ZHW5wi98',
      y: 'Vs6GCJD-ODJm1rcNsKw3HV2m7FNl2fvjl2OedqqUlrg',
    },
  })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString(),
};
