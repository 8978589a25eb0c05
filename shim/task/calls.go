package task

import (
	"context"
	"path"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
)

// UnaryServerInterceptor logs each call at the level debug, once it is answered.
// containerd's shim library installs it.
func (*service) UnaryServerInterceptor() ttrpc.UnaryServerInterceptor {
	return func(ctx context.Context, unmarshal ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, method ttrpc.Method) (any, error) {
		if log.GetLevel() < log.DebugLevel {
			return method(ctx, unmarshal)
		}
		begin, fields := time.Now(), log.Fields{}
		response, err := method(ctx, func(request any) error {
			err := unmarshal(request)
			if r, ok := request.(interface{ GetID() string }); ok && r.GetID() != "" {
				fields["container"] = r.GetID()
			}
			if r, ok := request.(interface{ GetExecID() string }); ok && r.GetExecID() != "" {
				fields["exec"] = r.GetExecID()
			}
			return err
		})
		fields["took"] = time.Since(begin).Round(time.Microsecond)
		if err != nil {
			fields["error"] = err
		}
		log.G(ctx).WithFields(fields).Debugf("call %s", path.Base(info.FullMethod))
		return response, err
	}
}
