package router

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// largeMessage is larger than what servers and clients of gRPC take by default.
const largeMessage = 5 << 20

// grpcEcho is a gRPC service that gives back what it gets.
type grpcEcho struct {
	pb.UnimplementedTestServiceServer
	canceled chan bool
}

// UnaryCall gives the payload back, waits for its deadline, or fails.
func (s *grpcEcho) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-first", strings.Join(md["x-ask"], "")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-last", "end", "x-last-bin", "\x00\xff"))
	if in.ResponseStatus != nil {
		return nil, status.Error(codes.Code(in.ResponseStatus.Code), in.ResponseStatus.Message)
	}
	if string(in.Payload.GetBody()) == "wait" {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) > time.Minute {
			return nil, status.Error(codes.Internal, "no deadline came")
		}
		<-ctx.Done()
		s.canceled <- true
		return nil, ctx.Err()
	}
	return &pb.SimpleResponse{Payload: in.Payload}, nil
}

// FullDuplexCall gives each message back as it comes.
func (s *grpcEcho) FullDuplexCall(stream grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			stream.SetTrailer(metadata.Pairs("x-last", "all"))
			return nil
		}
		if err != nil {
			s.canceled <- true
			return err
		}
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// StreamingInputCall says how much it got.
func (s *grpcEcho) StreamingInputCall(stream grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	for size := 0; ; {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(in.Payload.GetBody())
	}
}

// StreamingOutputCall sends messages of the sizes that it is asked for.
func (s *grpcEcho) StreamingOutputCall(in *pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	for _, p := range in.ResponseParameters {
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: message(int(p.Size), 'q')}); err != nil {
			return err
		}
	}
	return nil
}

func TestGRPC_PassesThrough(t *testing.T) {
	cert := keyPair(t, "grpc.test")
	s := runTLS(t, []tls.Certificate{cert})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &grpcEcho{canceled: make(chan bool, 10)}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(largeMessage + 1<<10))
	pb.RegisterTestServiceServer(server, service)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	d := to("grpc", ln.Addr().String())
	d.Protocol = ProtocolHTTP2
	s.mapRoute("grpc.test", "", d)
	for name, c := range map[string]struct {
		addr  string
		creds credentials.TransportCredentials
	}{
		"in the clear": {s.addr, insecure.NewCredentials()},
		"over TLS":     {s.tlsAddr, credentials.NewTLS(&tls.Config{RootCAs: s.roots, ServerName: "grpc.test"})},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := grpc.NewClient("passthrough:///"+c.addr, grpc.WithTransportCredentials(c.creds), grpc.WithAuthority("grpc.test"),
				grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largeMessage+1<<10)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := pb.NewTestServiceClient(conn)
			unaryPasses(t, client)
			errorsAndDeadlinesPass(t, client, service)
			streamsPass(t, client, service)
			streamsOfOneSidePass(t, client)
		})
	}
}

// A stream over which nothing is said for a while must not be ended by those
// who look whether the other side is there.
func TestGRPC_SilentStreamsArePingedNoMoreOftenThanServersAllow(t *testing.T) {
	const allowed = 5 * time.Minute // by default, in all languages
	if got := newTransport(new(Config)).HTTP2.SendPingTimeout; got > 0 && got <= allowed {
		t.Errorf("a ping after %s", got)
	}
}

func message(size int, fill byte) *pb.Payload {
	b := make([]byte, size)
	for i := range b {
		b[i] = fill
	}
	return &pb.Payload{Body: b}
}

func unaryPasses(t *testing.T, client pb.TestServiceClient) {
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-ask", "hello")
	for _, size := range []int{0, 1 << 10, 1 << 20, largeMessage} {
		var first, last metadata.MD
		res, err := client.UnaryCall(ctx, &pb.SimpleRequest{Payload: message(size, 'x')}, grpc.Header(&first), grpc.Trailer(&last))
		if err != nil || len(res.Payload.GetBody()) != size {
			t.Fatalf("size %d: %v", size, err)
		}
		if strings.Join(first["x-first"], "") != "hello" || strings.Join(last["x-last"], "") != "end" || strings.Join(last["x-last-bin"], "") != "\x00\xff" {
			t.Errorf("head %v, trailers %v", first, last)
		}
	}
}

func errorsAndDeadlinesPass(t *testing.T, client pb.TestServiceClient, service *grpcEcho) {
	_, err := client.UnaryCall(t.Context(), &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: int32(codes.DataLoss), Message: "grüße, 100%"}})
	if s := status.Convert(err); s.Code() != codes.DataLoss || s.Message() != "grüße, 100%" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // in which it should come there
	defer cancel()
	if _, err = client.UnaryCall(ctx, &pb.SimpleRequest{Payload: &pb.Payload{Body: []byte("wait")}}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	awaitCancel(t, service)
}

func awaitCancel(t *testing.T, service *grpcEcho) {
	t.Helper()
	select {
	case <-service.canceled:
	case <-time.After(30 * time.Second):
		t.Error("the service does not learn that the call was given up")
	}
}

func streamsPass(t *testing.T, client pb.TestServiceClient, service *grpcEcho) {
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // each waits for its answer
		if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: message(100*i, 'y')}); err != nil {
			t.Fatal(err)
		}
		if res, err := stream.Recv(); err != nil || len(res.Payload.GetBody()) != 100*i {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) || strings.Join(stream.Trailer()["x-last"], "") != "all" {
		t.Errorf("got %v, trailers %v", err, stream.Trailer())
	}
	ctx, cancel := context.WithCancel(t.Context())
	if stream, err = client.FullDuplexCall(ctx); err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&pb.StreamingOutputCallRequest{Payload: message(1, 'z')})
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	awaitCancel(t, service)
}

func streamsOfOneSidePass(t *testing.T, client pb.TestServiceClient) {
	up, err := client.StreamingInputCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sizes := []*pb.ResponseParameters{}
	want := 0
	for size := 1; size < 1<<18; size *= 4 {
		want += size
		sizes = append(sizes, &pb.ResponseParameters{Size: int32(size)})
		if err := up.Send(&pb.StreamingInputCallRequest{Payload: message(size, 'a')}); err != nil {
			t.Fatal(err)
		}
	}
	if res, err := up.CloseAndRecv(); err != nil || int(res.AggregatedPayloadSize) != want {
		t.Errorf("%d bytes came of %d: %v", res.GetAggregatedPayloadSize(), want, err)
	}
	down, err := client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{ResponseParameters: sizes})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range sizes {
		if res, err := down.Recv(); err != nil || len(res.Payload.GetBody()) != int(p.Size) {
			t.Fatalf("a message of %d bytes: %v", p.Size, err)
		}
	}
	if _, err := down.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
