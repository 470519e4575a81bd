import type { Appointment, Letter } from './letter.ts';
import type { Message } from './post.ts';

/**
 * What is sent of a letter, in English. A token stands there by itself, for any client to take; with `publicUrl` also as a link, behind
 * a #: browsers send that neither to a server nor to other sites. Where nobody knows yet whose the address is, nothing is said that somebody
 * chose at sign-up: it would be said in our name.
 */
export function composeMessage(letter: Letter, publicUrl: string | undefined): Message {
  const { id, address, displayName } = letter;
  switch (letter.kind) {
    case 'VERIFICATION':
      return {
        id,
        to: { address },
        subject: 'Is this your e-mail address?',
        text: lines(
          'Somebody, most likely you, has given this e-mail address to Amrutam.',
          ...wayBack(letter, publicUrl && `${publicUrl}/verify-email`, 'To say that it is yours,'),
          'That can be done once, within 24 hours. If it was not you, do nothing.',
        ),
      };
    case 'PASSWORD_RESET':
      return {
        id,
        to: { address },
        subject: 'A new password',
        text: lines(
          'Somebody, most likely you, has forgotten the password of the account at Amrutam with this e-mail address.',
          ...wayBack(letter, publicUrl && `${publicUrl}/reset-password`, 'To choose a new one,'),
          'That can be done once, within 30 minutes. If it was not you, do nothing: the password stays as it is. Give the code to nobody, whoever asks.',
        ),
      };
    case 'REMINDER':
      return {
        id,
        to: { address, name: displayName },
        subject: 'Your appointment',
        text: lines(
          `Hello ${displayName},`,
          'this is to remind you of your appointment',
          ...(letter.appointment ? [appointmentLines(letter.appointment)] : []),
          "If you can't come, please cancel or move it before it begins, so that somebody else can have the time.",
          ...(publicUrl ? [publicUrl] : []),
        ),
      };
  }
}

function wayBack({ token }: Letter, page: string | undefined, aim: string): string[] {
  if (!page) return [`${aim} enter this code where you are asked for it:`, `  ${token}`];
  return [`${aim} open`, `  ${page}#token=${token}`, 'or enter this code where you are asked for it:', `  ${token}`];
}

function appointmentLines({ startAt, timeZone, doctorName }: Appointment): string {
  const day = startAt.toLocaleDateString('en-GB', { timeZone, dateStyle: 'full' });
  // With the offset: on one night of the year an hour comes twice.
  const time = startAt.toLocaleTimeString('en-GB', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'longOffset',
  });
  return `  with  ${doctorName}\n  on    ${day}\n  at    ${time} (time of ${timeZone})`;
}

/** Paragraphs with a line between them. */
function lines(...paragraphs: readonly string[]): string {
  return `${paragraphs.join('\n\n')}\n`;
}
