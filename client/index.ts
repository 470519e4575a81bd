/** What a service on Node needs to call: typed gRPC clients. Browsers take the services from the subpaths instead. */
export { credentials, Metadata, status } from '@grpc/grpc-js';
export { AdminService } from '../gen/amrutam/admin/v1/admin_pb.ts';
export { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
export { AvailabilityService } from '../gen/amrutam/availability/v1/availability_pb.ts';
export { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
export type { CallOptions } from './call-options.ts';
export { createGrpcClient, type GrpcClient, type GrpcClientOptions } from './grpc-client.ts';
export { type ReasonName, RpcError } from './rpc-error.ts';
